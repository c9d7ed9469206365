"""Cores and memory that this process may use: limits of cgroups (both versions), affinity, and the machine's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path("/")
MOUNT: Final = "sys/fs/cgroup"
GPUS: Final = ("nvidia[0-9]*", "kfd")
REQUESTS_MOST: Final = 16
SHARED: Final = 2
"""Where nothing limits memory, this part of what is free is used: others live on the machine too."""


def cores(root: Path = ROOT) -> int:
    """Return how many cores there are: the limit, rounded down, or those that the process may run on."""
    return max(1, min([len(os.sched_getaffinity(0)), *(int(each) for each in _quotas(root))]))


def requests() -> int:
    """Return how many requests keep a TorchServe of this machine busy: one for each process, and one that waits."""
    return min(cores(), REQUESTS_MOST) + 1


def memory_bytes(root: Path = ROOT) -> int:
    """Return how much memory there is: the limit, or, without one, half of what is free."""
    told = dict(line.split(":", 1) for line in _read(root / "proc/meminfo").splitlines() if ":" in line)
    total, free = (int(told[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    limit = memory_limit(root)
    return free // SHARED if limit is None or limit >= total else limit


def memory_limit(root: Path = ROOT) -> int | None:
    """Return the lowest limit of memory that a cgroup sets; None without any."""
    found = [
        _read(folder / name).strip()
        for folder in _folders("memory", root)
        for name in ("memory.max", "memory.limit_in_bytes")
    ]
    return min((int(each) for each in found if each.isdecimal()), default=None)


def has_gpu(root: Path = ROOT) -> bool:
    """Return whether a GPU can be reached from here."""
    return any(True for each in GPUS for _ in (root / "dev").glob(each))


def _quotas(root: Path) -> Iterator[float]:
    """Yield each limit on cores; a period is what the quota is a part of."""
    for folder in _folders("cpu", root):
        whole = _read(folder / "cpu.max").split()
        parts = whole or [_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
        if all(each.isdecimal() for each in parts) and int(parts[1]):  # else "max" or -1: no limit
            yield int(parts[0]) / int(parts[1])


def _folders(controller: str, root: Path) -> Iterator[Path]:
    """Yield where limits may stand: in the process's cgroup and in those above it, which limit it as well.

    A container usually sees its own cgroup as the mount's top, while its path may be one of the machine's, which isn't
    there.
    """
    mount = root / MOUNT
    tops = {(mount, ""), (mount / controller, "")}
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, names, path = (*line.split(":", 2), "", "")[:3]
        if not names:
            tops.add((mount, path.strip("/")))
        elif controller in names.split(","):
            tops |= {(mount / each, path.strip("/")) for each in (controller, names)}
    for top, path in tops:
        parts = [] if ".." in path.split("/") else path.split("/")
        yield from (top.joinpath(*parts[:count]) for count in range(len(parts) + 1))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
