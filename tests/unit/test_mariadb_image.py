"""The start of the try-out database: how it handles the volume that it finds."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

START = Path(__file__).resolve().parents[2] / "docker/mariadb/start"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def start(data: Path) -> subprocess.CompletedProcess[str]:
    """Run the script on a folder, with stand-ins for the server's programs that only print what they would do."""
    programs = data.parent / "bin"
    programs.mkdir(exist_ok=True)
    stand_ins = {"mariadb-install-db": f"echo made >&2; mkdir {data}/mysql", "mariadbd": "echo serving"}
    for name, does in stand_ins.items():
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    script = START.read_text().replace("/tmp/init", f"{data.parent}/init").replace("/var/lib/mysql", str(data))
    account = {"MARIADB_DATABASE": "sluice", "MARIADB_USER": "sluice", "MARIADB_PASSWORD": "it's a \\ secret"}
    environment = {**os.environ, **account, "PATH": f"{programs}:{os.environ['PATH']}"}
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)


def test_an_empty_volume_gets_a_database(data: Path) -> None:
    """A file system's own folder doesn't count; the account's values are quoted."""
    (data / "lost+found").mkdir()
    done = start(data)
    assert (done.returncode, done.stdout, done.stderr) == (0, "serving\n", "made\n")
    assert not (data / ".sluice-begun").exists()
    assert r"IDENTIFIED BY 'it\'s a \\ secret'" in (data.parent / "init.sql").read_text()


def test_a_database_that_is_there_is_used(data: Path) -> None:
    """It doesn't matter who created it: a restored backup has no marker of ours."""
    (data / "mysql").mkdir()
    (data / "ibdata1").write_text("rows")
    done = start(data)
    assert (done.returncode, done.stdout, done.stderr) == (0, "serving\n", "")
    assert (data / "ibdata1").read_text() == "rows"


def test_one_that_was_left_half_made_is_made_again(data: Path) -> None:
    (data / ".sluice-begun").touch()
    (data / "mysql").mkdir()
    (data / "half").touch()
    done = start(data)
    assert (done.returncode, done.stderr) == (0, "made\n")
    assert not (data / "half").exists()


def test_files_of_something_else_are_left_alone(data: Path) -> None:
    (data / "precious").write_text("mine")
    done = start(data)
    assert done.returncode == 1
    assert "has files but no database" in done.stderr
    assert (data / "precious").read_text() == "mine"
