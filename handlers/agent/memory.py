"""How much memory TorchServe may still use.

TorchServe runs in a container of its own, whose memory only a process inside can see: its probe writes it to a file of
the shared folder. Without such a file TorchServe runs on this machine as any process.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from handlers.agent.shared import read_end

NAME: Final = "memory.json"
NUMBERS_BYTES: Final = 1024
CGROUP: Final = Path("/sys/fs/cgroup")
MACHINE: Final = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class MemoryRoom:
    """Bytes that TorchServe may use in all, and those that are free."""

    most: int
    free: int


def room(folder: Path, machine: Path = MACHINE) -> MemoryRoom:
    """Return what TorchServe's container has left, and the machine."""
    told = dict(line.split(":", 1) for line in machine.read_text().splitlines() if ":" in line)
    most, free = (int(told[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    try:
        limit, used = (int(each) for each in json.loads(read_end(folder / NAME, NUMBERS_BYTES)))
    except (OSError, ValueError, TypeError):
        return MemoryRoom(most, free)
    return MemoryRoom(min(most, limit), min(free, limit - used))


def write_usage(folder: Path, cgroup: Path = CGROUP) -> None:
    """Write what this container uses of its limit, if it has one. Files in memory don't count: they make room."""
    # The second version of cgroups, or the first.
    found = _usage(cgroup, ("memory.max", "memory.current"), "") or _usage(
        cgroup / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes"), "total_"
    )
    if found is None:
        return
    limit, used, cached = found
    part = folder / f".{NAME}.{os.getpid()}"
    part.write_text(json.dumps([limit, used - cached]))
    part.replace(folder / NAME)


def _usage(cgroup: Path, names: tuple[str, str], prefix: str) -> tuple[int, int, int] | None:
    """Return limit, use, and what of it are files in memory; None without a limit."""
    try:
        limit, used = ((cgroup / name).read_text().strip() for name in names)
        told = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    except OSError:
        return None
    cached = sum(int(told.get(f"{prefix}{name}", 0)) for name in ("inactive_file", "active_file"))
    return None if limit == "max" else (int(limit), int(used), cached)
