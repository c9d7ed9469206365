"""How the command ends: exit codes, sentences instead of tracebacks, help with examples, a quick start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sluice import cli
from sluice.cli import status
from sluice.cli.build import NEEDED, check_installed
from sluice.errors import (
    ConfigurationError,
    EndpointDown,
    LedgerError,
    LedgerUnavailable,
    ObjectError,
    Overloaded,
    SourceError,
    TablesMissing,
)

COMMANDS = [
    "",
    "submit",
    "upload",
    "selftest",
    "status",
    "results",
    "diff",
    "check",
    "keys",
    "config",
    *(f"jobs {name}".strip() for name in ("", "list", "pause", "resume", "cancel", "priority", "repair", "prune")),
    *(f"quarantine {name}".strip() for name in ("", "list", "show", "replay")),
    *(f"models {name}".strip() for name in ("", "build", "list", "show", "register", "fetch", "promote", "retire")),
    "train",
    *(f"trainings {name}".strip() for name in ("", "list", "show", "cancel", "retry")),
    *(f"users {name}".strip() for name in ("", "list", "add", "set-role", "deactivate", "activate", "reset-password")),
    *(f"users tokens {name}".strip() for name in ("", "list", "revoke")),
    *(f"db {name}".strip() for name in ("", "upgrade", "downgrade", "current")),
]
HEAVY = (
    "boto3",
    "obstore",
    "numpy",
    "PIL",
    "torch",
    "pyarrow",
    "alembic",
    "sqlalchemy",
    "structlog",
    "requests",
    "zmq",
    "pwdlib",
)

Sluice = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sluice(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Sluice:
    """Return the command, run in this process: it returns exit code, output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sluice", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (int(ended.value.code or 0), *capfd.readouterr())

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples(command: str, sluice: Sluice) -> None:
    code, out, _ = sluice(*command.split(), "--help")
    assert code == 0
    assert f"sluice {command}".strip() in out.partition("╰")[2]


def test_version(sluice: Sluice) -> None:
    assert sluice("--version") == (0, "sluice 0.1.0\n", "")


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["status", "--nonsense"], ["submit"], ["submit", "nowhere"], ["status", "first"]]
)
def test_wrong_usage_is_2(arguments: list[str], sluice: Sluice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluice.ledger.Database.run", lambda _, work, *rest: work(None, *rest))
    code, out, err = sluice(*arguments)
    assert (code, out) == (2, "")
    assert err


def test_an_unreachable_database_is_3_and_says_what_to_do(sluice: Sluice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_DATABASE_URL", "mysql://u:hunter2@127.0.0.1:9/x")
    monkeypatch.setenv("SLUICE_DATABASE_PATIENCE", "0.01")
    code, out, err = sluice("status")
    assert (code, out) == (3, "")
    assert err.startswith("error: the database gave no answer")
    assert "`sluice config`" in err
    assert "hunter2" not in err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("results first", "neither a number nor 'last'"),
        ("jobs pause first", "neither a number nor 'last'"),
        ("results 7 --format csv --output /nowhere/rows.csv", "there is no folder /nowhere"),
        ("train s3://photos/ --name Drugs", "can't be a model's name"),
        ("train s3://photos/ --name drugs --version new", "can't be a version"),
        ("train photos/ --name drugs", "isn't a source"),
        ("train --name drugs", "no pictures to learn from"),
        ("models trial drugs", "names no version"),
        ("models trial drugs --stop", "names no version"),
        ("models trial drugs@2 --share 2", "the share is 2"),
        ("models trial drugs@2 --promote-when often", "no condition for a promotion"),
    ],
)
def test_a_wrong_argument_is_told_before_the_database_is_asked(
    sluice: Sluice, monkeypatch: pytest.MonkeyPatch, command: str, said: str
) -> None:
    monkeypatch.setenv("SLUICE_DATABASE_URL", "mysql://u@127.0.0.1:9/x")
    monkeypatch.setenv("COLUMNS", "200")
    code, out, err = sluice(*command.split())
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SLUICE_GATEWAY_STORE", "photos/sluice/", "it must begin with s3://"),
        ("SLUICE_GATEWAY_STORE", "file:///srv/sluice/", "it must begin with s3://"),
        ("SLUICE_GATEWAY_STORE", "s3://Photos/", "isn't a bucket name"),
        ("SLUICE_MODEL_STORE", "models/", "it must begin with s3:// or file:///"),
    ],
)
def test_a_store_that_cannot_be_used_is_refused_with_the_settings(
    sluice: Sluice, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    code, out, err = sluice("config")
    assert (code, out) == (2, "")
    assert name in err
    assert said in err


INTERRUPTED = """
import os, signal, sys, types

class App(types.ModuleType):
    def __getattr__(self, name):
        os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.modules["sluice.cli.app"] = App("sluice.cli.app")
from sluice.cli import main
main()
"""


def test_ctrl_c_while_the_command_starts_shows_no_traceback() -> None:
    run = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (LedgerError("no such job"), 1),
        (Overloaded("full"), 1),
        (ObjectError("empty", "0 bytes"), 1),
        (ConfigurationError("wrong"), 2),
        (LedgerUnavailable("away"), 3),
        (TablesMissing("no tables"), 3),
        (SourceError("no bucket"), 3),
        (EndpointDown("no TorchServe"), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_kind_of_error_has_its_code(
    error: BaseException, expected: int, sluice: Sluice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(status, "open_database", fail)
    code, _, err = sluice("status")
    assert code == expected
    assert "Traceback" not in err


def test_an_error_is_shown_with_its_traceback_only_when_debugging(
    sluice: Sluice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise LedgerError("no\x1b[2J such [red]job")

    monkeypatch.setattr(status, "open_database", fail)
    assert sluice("status") == (1, "", "error: no\\x1b[2J such [red]job\n")
    monkeypatch.setenv("SLUICE_LOG_LEVEL", "debug")
    code, _, err = sluice("status")
    assert code == 1
    assert err.startswith("Traceback")
    assert err.endswith("error: no\\x1b[2J such [red]job\n")


def test_the_settings_are_json_without_secrets(sluice: Sluice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_DATABASE_URL", "mysql://u:hunter2@h/d")
    monkeypatch.setenv("SLUICE_NAME", "a\nb\x1b[31m")
    code, out, _ = sluice("config", "--json")
    shown = json.loads(out)
    assert code == 0
    assert (shown["database_url"], shown["name"]) == ("mysql://u:***@h/d", "a\nb\x1b[31m")
    assert "\x1b" not in out
    assert "hunter2" not in out + sluice("config")[1]


def test_a_database_that_is_no_mysql_is_refused_with_the_settings(
    sluice: Sluice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_DATABASE_URL", "postgres://u:hunter2@h/d")
    code, out, err = sluice("config")
    assert (code, out) == (2, "")
    assert "SLUICE_DATABASE_URL can't be used: expected mysql://" in err
    assert "hunter2" not in err


@pytest.mark.parametrize("option", ["--repeat", "--watch-seconds"])
def test_a_number_that_no_column_holds_is_refused_with_the_bound(sluice: Sluice, option: str) -> None:
    code, _, err = sluice("submit", "s3://photos", option, str(2**32))
    assert code == 2
    assert str(2**32 - 1) in err


def test_a_full_disk_is_a_sentence(sluice: Sluice, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(status, "open_database", fail)
    code, _, err = sluice("status")
    assert code == 1
    assert err.startswith("error: the system refuses: [Errno 28] No space left on device\n")


def test_starting_brings_nothing_heavy() -> None:
    code = f"import sys, sluice.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["config", "--version"])
def test_output_to_a_full_disk_ends_with_1_and_a_sentence(command: str, unbuffered: str) -> None:
    """/dev/full behaves like a full disk; small outputs only fail when they are flushed at the end."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [Path(sys.executable).parent / "sluice", command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_building_where_there_is_no_torch_says_where_there_is() -> None:
    check_installed(NEEDED)
    with pytest.raises(ConfigurationError, match=r"needs nowhere_at_all, which isn't installed.*sluice-torchserve"):
        check_installed(("json", "nowhere_at_all"))


def test_building_passes_on_what_the_builder_says(sluice: Sluice) -> None:
    code, out, err = sluice("models", "build", "nonsense")
    assert (code, out) == (2, "")
    assert "no recipe 'nonsense': use one of efficientnet-b0" in err
