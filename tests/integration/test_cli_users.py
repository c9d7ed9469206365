"""`sluice users`: whoever has the database's password lets people in, and out, as the gateway's pages do."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gateway.doors.keys import digest
from gateway.doors.passwords import Passwords
from sluice.ledger import Database, LedgerCursor, sessions, tokens, users
from sluice.ledger.users import Account
from tests.support.cli_runs import Sluice, run_in_process

PASSWORD = "a long enough secret"


@pytest.fixture
def sluice(database_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Sluice:
    return run_in_process({"SLUICE_DATABASE_URL": database_url}, monkeypatch, capfd)


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    found = Passwords()
    yield found
    found.close()


def account(ledger: Database, email: str) -> Account:
    found = ledger.run(users.find_email, email)
    assert found is not None
    return found


def opens(ledger: Database, passwords: Passwords, email: str, password: str) -> bool:
    """Return whether the gateway would let somebody in."""
    found = ledger.run(users.password_of, email)
    assert found is not None
    return asyncio.run(passwords.verify(password, found[1])) and found[0].active


def test_a_person_is_added_and_the_gateway_knows_the_password(
    sluice: Sluice, ledger: Database, passwords: Passwords
) -> None:
    code, out, err = sluice("users", "add", " Ada@Example.com", "--role", "admin", piped=f"{PASSWORD}\n")
    assert (code, out) == (0, "Ada@Example.com is person 1, with the role admin\n")
    assert re.search(r"audit .*by='command line of \w+' did='added a person' role=admin user=1", err)
    assert PASSWORD not in out + err
    ada = account(ledger, "ada@example.com")
    assert (ada.name, ada.role, ada.active) == ("Ada", "admin", True)
    assert opens(ledger, passwords, "ada@example.com", PASSWORD)
    code, _, err = sluice("users", "add", "ada@example.com", piped=PASSWORD)
    assert code == 1
    assert "somebody has this e-mail address already" in err
    assert sluice("users", "add", "bob@example.com", "--name", "Bob \x1b[31m", piped=PASSWORD)[0] == 2
    assert sluice("users", "add", "bob@example.com", "--name", "Bob", piped=PASSWORD)[0] == 0
    lines = sluice("users", "list")[1].splitlines()
    assert [line.split()[:5] for line in lines[1:]] == [
        ["1", "Ada", "ada@example.com", "admin", "yes"],
        ["2", "Bob", "bob@example.com", "user", "yes"],
    ]
    assert "ada@" not in sluice("users", "list", "--text", "bob")[1]


@pytest.mark.parametrize(
    ("arguments", "typed", "said"),
    [
        (["add", "no-address"], PASSWORD, "it looks like name@example.com"),
        (["add", "a@example.com"], "", "no password came"),
        (["add", "a@example.com"], "short\n", "10 to 200 characters, this one has 5"),
        (["add", "a@example.com"], "x" * 999, "10 to 200 characters"),
        (["add", "ada@example.com"], "ADA@example.com\n", "too easy to guess"),
        (["add", "a@example.com", "--role", "king"], PASSWORD, "'king' is not one of"),
        (["tokens", "revoke", "a@example.com"], "", "say which"),
        (["tokens", "revoke", "a@example.com", "1", "--all"], "", "say which"),
    ],
)
def test_what_can_not_be_meant_is_refused(
    arguments: list[str], typed: str, said: str, sluice: Sluice, ledger: Database
) -> None:
    code, out, err = sluice("users", *arguments, piped=typed)
    assert (code, out) == (2, "")
    assert said in err
    assert ledger.run(users.list_page, 0, 9) == []


@pytest.mark.parametrize(
    "command",
    [
        ["set-role", "nobody@example.com", "admin"],
        ["activate", "7"],
        ["deactivate", "nobody@example.com"],
        ["reset-password", "nobody@example.com"],
        ["tokens", "list", "99999999999999999999"],
        ["tokens", "revoke", "nobody@example.com", "--all"],
    ],
)
def test_somebody_who_is_not_there_is_said_so(command: list[str], sluice: Sluice, ledger: Database) -> None:
    del ledger
    code, out, err = sluice("users", *command, piped=PASSWORD)
    assert (code, out) == (1, "")
    assert "there is no person" in err
    assert "`sluice users list`" in err


def test_an_admin_who_lost_the_password_gets_in_again(sluice: Sluice, ledger: Database, passwords: Passwords) -> None:
    ledger.run(users.add_first_admin, "admin@localhost", "lost")
    admin = account(ledger, "admin@localhost")
    ledger.run(sessions.begin, digest("a browser's"), admin.id, 600)
    code, out, err = sluice("users", "reset-password", "admin@localhost", piped="another long secret\r\n")
    assert (code, out) == (0, "admin@localhost has a new password\n")
    assert "did='set a password'" in err
    assert opens(ledger, passwords, "admin@localhost", "another long secret")
    assert ledger.run(sessions.find, digest("a browser's")) is None


def test_the_last_admin_stays_one(sluice: Sluice, ledger: Database) -> None:
    ledger.run(users.add_first_admin, "admin@localhost", "hash")
    for command in (["set-role", "admin@localhost", "user"], ["deactivate", "1"]):
        code, out, err = sluice("users", *command)
        assert (code, out) == (1, "")
        assert "last active admin" in err
    ledger.run(users.add, "Ada", "ada@example.com", "viewer", "hash")
    assert sluice("users", "set-role", "ada@example.com", "admin")[:2] == (0, "ada@example.com has the role admin\n")
    code, out, err = sluice("users", "deactivate", "admin@localhost")
    assert (code, out) == (0, "admin@localhost may not sign in\n")
    assert "did='changed a person'" in err
    assert not account(ledger, "admin@localhost").active
    assert sluice("users", "activate", "admin@localhost")[1] == "admin@localhost may sign in\n"
    assert account(ledger, "admin@localhost").active


def test_who_may_not_sign_in_is_told_how_to_change_that(sluice: Sluice, ledger: Database) -> None:
    ledger.run(users.add_first_admin, "admin@localhost", "hash")
    bob = ledger.run(users.add, "Bob", "bob@example.com", "user", "hash")
    assert bob is not None
    ledger.run(users.change, bob, active=False)
    assert "`sluice users activate bob@example.com`" in sluice("users", "reset-password", bob, piped=PASSWORD)[1]


def test_tokens_are_listed_and_revoked(sluice: Sluice, ledger: Database) -> None:
    def work(cursor: LedgerCursor) -> list[int | None]:
        made = users.add(cursor, "Ada", "ada@example.com", "user", None)
        assert made is not None
        names = ["nightly", "laptop", "old one"]
        return [tokens.make(cursor, made, name, digest(name), 30 if name == "laptop" else None) for name in names]

    first, second, third = ledger.run(work)
    out = sluice("users", "tokens", "list", "ada@example.com")[1]
    assert [line.split()[1] for line in out.splitlines()[1:]] == ["nightly", "laptop", "old"]
    assert "when revoked" in out
    code, out, err = sluice("users", "tokens", "revoke", "ada@example.com", str(second))
    assert (code, out) == (0, "ada@example.com: 1 revoked\n")
    assert f"token={second}" in err
    assert ledger.run(tokens.find, digest("laptop")) is None
    assert ledger.run(tokens.find, digest("nightly")) is not None
    code, _, err = sluice("users", "tokens", "revoke", "ada@example.com", str(second))
    assert code == 1
    assert "has no token" in err
    code, out, err = sluice("users", "tokens", "revoke", "1", "--all")
    assert (code, out) == (0, "ada@example.com: 2 revoked\n")
    assert f"token={first}" in err
    assert f"token={third}" in err
    assert "has no token" in sluice("users", "tokens", "list", "1")[1]


def test_at_a_terminal_the_password_is_asked_for_twice_and_not_shown(
    database_url: str, ledger: Database, passwords: Passwords
) -> None:
    for second, said in (("another secret", "two different passwords"), (PASSWORD, "is person 1")):
        assert said in at_terminal(database_url, [PASSWORD, second], "users", "add", "ada@example.com")
    assert opens(ledger, passwords, "ada@example.com", PASSWORD)


def at_terminal(database_url: str, typed: list[str], *arguments: str) -> str:
    """Run the command at a terminal of its own, type at each question, and return what was to be seen."""
    screen, terminal = os.openpty()
    environment = {**os.environ, "SLUICE_DATABASE_URL": database_url}
    command = [sys.executable, "-m", "sluice", *arguments]
    # In a session of its own, or it would ask at the terminal that the tests run at.
    with subprocess.Popen(
        command, env=environment, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    ):
        os.close(terminal)
        seen = b""
        answers = iter(typed)
        while block := _read(screen):
            seen += block
            if seen.endswith((b"New password: ", b"Once more: ")):
                os.write(screen, next(answers).encode() + b"\n")
    os.close(screen)
    assert not any(each.encode() in seen for each in typed)
    return seen.decode()


def _read(screen: int) -> bytes:
    try:
        return os.read(screen, 4096)
    except OSError:  # how Linux says that the other side has ended
        return b""
