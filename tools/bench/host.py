"""The machine: what it is, and the CPU time that its host gives to others. With much of that, figures mean little."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Final

import psutil

CLOCKS: Final = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def clocks() -> dict[str, float]:
    """Return the machine's CPU seconds so far by use; guests' time is already part of the user's."""
    times = psutil.cpu_times()
    return {name: getattr(times, name) for name in CLOCKS}


def stolen(since: dict[str, float]) -> float:
    """Return the share of CPU time that was stolen since then."""
    now = clocks()
    passed = sum(now.values()) - sum(since.values())
    return (now["steal"] - since["steal"]) / passed if passed else 0.0


def machine() -> dict[str, str]:
    """Describe the machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{model}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
    }
