"""The schedule of an unknown storm: a list drawn from a seed before anything runs.

Times and durations are seconds of the run; durations are for a run of 300 s and shrink with a shorter one.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

FULL_SECONDS: Final = 300.0
SECONDS_A_BLOW: Final = 4.0
SHORTEST: Final = 0.5
LAST: Final = 0.97
"""The share of the run in which faults begin and end; then everything is repaired, and all work must finish."""


@dataclass(frozen=True, slots=True)
class Cast:
    """Number of processes of each kind; shard 0 has a second producer as a standby."""

    consumers: int = 3
    shards: int = 2

    @property
    def victims(self) -> Mapping[str, tuple[str, ...]]:
        """Return the possible targets of each group of faults."""
        consumers = tuple(f"consumer-{number}" for number in range(self.consumers))
        producers = tuple(f"producer-{number}" for number in range(self.shards + 1))
        servers = ("database", "s3", "torchserve")
        return {
            "process": (*consumers, *consumers, *producers, *producers, *servers),
            "worker": (*consumers, *producers),
            "link": (
                *(f"{consumer}:{to}" for consumer in consumers for to in ("producers", *servers)),
                *(f"{producer}:{to}" for producer in producers for to in ("database", "s3")),
                *(f"*:{to}" for to in ("producers", *servers)),
            ),
            "database": ("database",),
            "bucket": ("bucket",),
        }


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault."""

    weight: float
    group: str
    lasts: tuple[float, float] = (0.0, 0.0)


KINDS: Final = {
    "freeze": Kind(3, "process", (3.0, 60.0)),
    "kill": Kind(3, "process", (0.0, 8.0)),
    "drain": Kind(1, "worker", (0.0, 8.0)),
    "cut": Kind(3, "link"),
    "half-close": Kind(2, "link"),
    "vanish": Kind(2, "link", (3.0, 60.0)),
    "hang": Kind(2, "link", (3.0, 40.0)),
    "hang-cut": Kind(2, "link", (3.0, 40.0)),
    "delay": Kind(1, "link", (10.0, 40.0)),
    "loss": Kind(1, "link", (10.0, 40.0)),
    "kill-connections": Kind(2, "database"),
    "read-only": Kind(1, "database", (3.0, 20.0)),
    "backup-lock": Kind(1, "database", (3.0, 20.0)),
    "hold-rows": Kind(1, "database", (3.0, 40.0)),
    "overwrite": Kind(3, "bucket"),
    "delete": Kind(2, "bucket"),
    "delete-and-put": Kind(1, "bucket"),
    "clock": Kind(2, "database", (5.0, 40.0)),
}


@dataclass(frozen=True, slots=True)
class Blow:
    """One fault: its start in seconds of the run, its duration, and its strength (from 0 to 1)."""

    at: float
    kind: str
    victim: str
    lasts: float
    strength: float

    def __str__(self) -> str:
        return f"{self.at:6.1f} s  {self.kind} {self.victim} for {self.lasts:.1f} s ({self.strength:.2f})"


def draw(seed: int, seconds: float, cast: Cast) -> list[Blow]:
    """Draw the storm of a seed."""
    chance = random.Random(seed)  # noqa: S311 - a storm must be repeatable
    scale = min(1.0, seconds / FULL_SECONDS)
    end = seconds * LAST
    count = max(8, round(seconds / SECONDS_A_BLOW))
    blows: list[Blow] = []
    for _ in range(count):
        (name,) = chance.choices(list(KINDS), [kind.weight for kind in KINDS.values()])
        kind = KINDS[name]
        at = chance.uniform(0.0, end)
        low, high = kind.lasts
        lasts = max(SHORTEST, chance.uniform(low, high) * scale) if high else 0.0
        victim = chance.choice(cast.victims[kind.group])
        blows.append(Blow(at, name, victim, min(lasts, max(SHORTEST, end - at)), chance.random()))
    return sorted(blows, key=lambda blow: blow.at)
