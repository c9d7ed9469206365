"""Steal time: CPU time that a virtual machine's host gives to others. With much of it, a run's figures mean little."""

from __future__ import annotations

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
    return (now["steal"] - since["steal"]) / (sum(now.values()) - sum(since.values()))
