"""What a machine or a container has, read from trees of files like the kernel's, and what follows for TorchServe."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sluice.capacity import Arrangement, arrange, cores, has_gpu, memory_bytes, needed_bytes, queue_size
from sluice.capacity.arrangement import FRONTEND_BYTES, LATER, WORKERS_MOST, read_arrangement

MIB = 1024 * 1024
GIB = 1024 * MIB
NET = 40 * MIB


@pytest.fixture(autouse=True)
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have as many cores as a large machine."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(16))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a tree without any limit."""
    write(tmp_path, "proc/meminfo", "MemTotal: 16777216 kB\nMemFree: 1 kB\nMemAvailable: 8388608 kB\n")
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def test_without_a_limit_there_are_all_cores_and_half_of_the_free_memory(root: Path) -> None:
    assert cores(root) == 16
    assert memory_bytes(root) == 4 * GIB
    write(root, "sys/fs/cgroup/cpu.max", "max 100000")
    write(root, "sys/fs/cgroup/memory.max", "max")
    write(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1")
    write(root, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
    write(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", str(2**63 - 4096))
    assert cores(root) == 16
    assert memory_bytes(root) == 4 * GIB


def test_affinity_leaves_some_cores(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert cores(root) == 2
    write(root, "sys/fs/cgroup/cpu.max", "400000 100000")
    assert cores(root) == 2


@pytest.mark.parametrize(("quota", "expected"), [("250000 100000", 2), ("50000 100000", 1), ("300000 100000", 3)])
def test_the_second_version_s_limits_are_a_container_s(root: Path, quota: str, expected: int) -> None:
    """A container sees its own cgroup as the top, whatever its path says."""
    write(root, "proc/self/cgroup", "0::/")
    write(root, "sys/fs/cgroup/cpu.max", quota)
    write(root, "sys/fs/cgroup/memory.max", str(3 * GIB))
    assert (cores(root), memory_bytes(root)) == (expected, 3 * GIB)


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_the_first_version_s_limits_are_a_container_s(root: Path, mount: str) -> None:
    """The path is one of the machine's, which isn't there."""
    write(root, "proc/self/cgroup", f"4:memory:/kubepods/pod1/c\n3:{mount}:/kubepods/pod1/c\n0::/")
    write(root, f"sys/fs/cgroup/{mount}/cpu.cfs_quota_us", "300000")
    write(root, f"sys/fs/cgroup/{mount}/cpu.cfs_period_us", "100000")
    write(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", str(2 * GIB))
    assert (cores(root), memory_bytes(root)) == (3, 2 * GIB)


def test_the_lowest_limit_counts_of_a_cgroup_and_of_those_above_it(root: Path) -> None:
    """As for a service of systemd's, whose slice is limited too."""
    write(root, "proc/self/cgroup", "0::/user.slice/job.scope")
    write(root, "sys/fs/cgroup/user.slice/cpu.max", "400000 100000")
    write(root, "sys/fs/cgroup/user.slice/job.scope/cpu.max", "800000 100000")
    write(root, "sys/fs/cgroup/user.slice/memory.max", str(6 * GIB))
    write(root, "sys/fs/cgroup/user.slice/job.scope/memory.max", "max")
    write(root, "sys/fs/cgroup/other.slice/cpu.max", "100000 100000")
    assert (cores(root), memory_bytes(root)) == (4, 6 * GIB)


@pytest.mark.parametrize("path", ["0::/../../x", "nonsense"])
def test_paths_that_lead_out_are_not_followed(root: Path, path: str) -> None:
    write(root, "proc/self/cgroup", path)
    write(root, "x/cpu.max", "100000 100000")
    assert cores(root) == 16


def test_a_gpu_is_known_by_its_device(root: Path) -> None:
    write(root, "dev/nvidiactl", "")
    assert not has_gpu(root)
    write(root, "dev/nvidia0", "")
    assert has_gpu(root)


@pytest.mark.parametrize(
    ("count", "memory", "archives", "expected"),
    [
        (1, 64 * GIB, [NET], Arrangement(1, 1)),
        (2, 64 * GIB, [NET], Arrangement(2, 1)),
        (2, 4 * GIB, [NET], Arrangement(2, 1)),
        (2, 2 * GIB, [NET], Arrangement(1, 2)),
        (8, 64 * GIB, [NET], Arrangement(8, 1)),
        (8, 8 * GIB, [NET], Arrangement(4, 2)),  # there is room for seven, but one core would be idle
        (6, 6 * GIB, [NET], Arrangement(3, 2)),
        (2, 64 * GIB, [NET, NET], Arrangement(2, 1)),
        (2, 4 * GIB, [NET, NET], Arrangement(1, 2)),
        (2, 4 * GIB, [900 * MIB], Arrangement(1, 2)),
        (2, 0, [NET], Arrangement(1, 2)),
        (4, 64 * GIB, [], Arrangement(4, 1)),
        (128, 900 * GIB, [NET], Arrangement(32, 4)),
    ],
)
def test_there_is_a_process_for_each_core_that_memory_is_enough_for(
    count: int, memory: int, archives: list[int], expected: Arrangement
) -> None:
    assert arrange(count, memory, archives) == expected


def test_an_agent_needs_memory_for_what_it_adds() -> None:
    least = FRONTEND_BYTES + needed_bytes(NET, 2 + LATER)
    assert arrange(2, least, [NET], has_agent=True) == Arrangement(2, 1)
    assert arrange(2, least - 1, [NET], has_agent=True) == Arrangement(1, 2)


def test_a_gpu_has_one_process() -> None:
    assert arrange(8, 64 * GIB, [NET], has_gpu=True) == Arrangement(1, 8)
    assert arrange(8, 64 * GIB, [NET, NET], has_gpu=True) == Arrangement(1, 4)


def test_what_is_set_is_taken() -> None:
    assert arrange(8, GIB, [NET], workers=4) == Arrangement(4, 2)
    assert arrange(8, GIB, [NET, NET], workers=2) == Arrangement(2, 2)
    assert arrange(8, 64 * GIB, [NET], workers=3, threads=5) == Arrangement(3, 5)
    assert arrange(8, 64 * GIB, [NET], threads=4) == Arrangement(2, 4)
    assert arrange(2, 64 * GIB, [NET], threads=4) == Arrangement(1, 4)


def test_a_process_more_needs_a_copy_more() -> None:
    assert needed_bytes(NET, 3) - needed_bytes(0, 3) == 3 * (needed_bytes(NET, 1) - needed_bytes(0, 1))


def test_few_requests_wait_for_each_process() -> None:
    assert [queue_size(workers) for workers in (1, 4, 5, 32)] == [16, 16, 20, 128]


def test_an_arrangement_is_handed_on_as_text() -> None:
    assert read_arrangement(Arrangement(3, 2).to_json()) == Arrangement(3, 2)
    many = '{"workers": 33, "threads": 1}'
    assert f'"workers": {WORKERS_MOST + 1}' in many
    for nonsense in ("", b"\xff", "[]", "null", "{}", '{"workers": 0, "threads": 1}', '{"workers": 1}', many):
        assert read_arrangement(nonsense) is None
