"""What the host of a virtual machine gives to others: figures of a run that it took much from say little."""

from __future__ import annotations

from typing import Final

import psutil

CLOCKS: Final = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def clocks() -> dict[str, float]:
    """Return the machine's processor seconds so far, by what they went to; guests' are among the user's already."""
    times = psutil.cpu_times()
    return {name: getattr(times, name) for name in CLOCKS}


def stolen(since: dict[str, float]) -> float:
    """Return the share of the processors' time that the host gave to others since then."""
    now = clocks()
    return (now["steal"] - since["steal"]) / (sum(now.values()) - sum(since.values()))
