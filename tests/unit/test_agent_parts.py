"""The agent's parts that need no server: memory, causes in logs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from handlers.agent.causes import cause_in_logs
from handlers.agent.memory import MemoryRoom, needed, room, write_usage

KIB = 1024
MACHINE = "MemTotal:       8000 kB\nMemFree:  1 kB\nMemAvailable:   3000 kB\n"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    path = tmp_path / "meminfo"
    path.write_text(MACHINE)
    return path


def cgroup(folder: Path, limit: str, used: int = 0, cached: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\nactive_file 24\n")
    return folder


def test_there_is_as_much_room_as_container_and_machine_have(tmp_path: Path, machine: Path) -> None:
    assert room(tmp_path, machine) == MemoryRoom(8000 * KIB, 3000 * KIB)
    write_usage(tmp_path, cgroup(tmp_path / "cgroup", str(4000 * KIB), 3500 * KIB, 500 * KIB - 24))
    assert room(tmp_path, machine) == MemoryRoom(4000 * KIB, 1000 * KIB), "files in memory make room"
    write_usage(tmp_path, cgroup(tmp_path / "cgroup", str(9000 * KIB), 24))
    assert room(tmp_path, machine) == MemoryRoom(8000 * KIB, 3000 * KIB), "the machine has less"


def test_without_a_limit_nothing_is_written(tmp_path: Path, machine: Path) -> None:
    write_usage(tmp_path, cgroup(tmp_path / "cgroup", "max"))
    write_usage(tmp_path, tmp_path / "absent")
    assert not (tmp_path / "memory.json").exists()
    for nonsense in ("", "[1]", "{}", '["a", "b"]', "[null, 1]"):
        (tmp_path / "memory.json").write_text(nonsense)
        assert room(tmp_path, machine) == MemoryRoom(8000 * KIB, 3000 * KIB)


def test_each_worker_has_its_own_weights() -> None:
    assert needed(100, 3) - needed(0, 3) == 3 * (needed(100, 1) - needed(0, 1))


def test_a_cause_is_the_last_error_of_the_models_own_worker(tmp_path: Path) -> None:
    (tmp_path / "model_log.log").write_text(
        "W-9000-drugs_1.0-stdout - ValueError: mine\n"
        "W-9000-drugs_1.0-stdout - RuntimeError: 500 - Unknown exception\n"
        "W-9001-cats_1.0-stdout - KeyError: another's\nbye\n"
    )
    assert cause_in_logs(tmp_path, "drugs_1.0-") == "ValueError: mine"
    assert cause_in_logs(tmp_path) == "KeyError: another's"
    assert cause_in_logs(tmp_path, "dogs_1.0-") == ""


def test_a_log_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """A model's code may write there, and the agent's environment has passwords."""
    (tmp_path / "secret").write_text("W-9000-drugs_1.0 PasswordError: hunter2\n")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "model_log.log").symlink_to(tmp_path / "secret")
    assert cause_in_logs(tmp_path / "logs") == ""


def test_a_pipe_in_place_of_a_file_keeps_nobody_waiting(tmp_path: Path, machine: Path) -> None:
    os.mkfifo(tmp_path / "model_log.log")
    os.mkfifo(tmp_path / "memory.json")
    assert cause_in_logs(tmp_path) == ""
    assert room(tmp_path, machine) == MemoryRoom(8000 * KIB, 3000 * KIB)
