"""The schedule of faults: a list made from a seed, before anything runs.

Times are shares of the work that is done, so a slow and a fast machine get the same storm. Some faults follow another
within seconds, whatever is done by then, so that two things are away at once.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

CONSUMERS: Final = 4
FIRST, LAST = 0.01, 0.97
FOLLOWING: Final = 0.3
FOLLOWS_WITHIN: Final = 3.0
DOWN_SECONDS: Final = {
    "consumer": (0.0, 1.0),
    "drain": (0.0, 1.0),
    "producer": (0.0, 2.0),
    "database": (0.0, 4.0),
    "torchserve": (0.0, 4.0),
}


@dataclass(frozen=True, slots=True)
class Counts:
    """Number of faults of each kind: SIGKILL for all except `drain`, which is SIGTERM to a consumer."""

    consumer: int = 40
    producer: int = 5
    database: int = 3
    torchserve: int = 2
    drain: int = 20

    def scaled(self, share: float) -> Counts:
        """Return proportionally fewer, at least one of each kind."""
        return Counts(**{kind: max(1, round(getattr(self, kind) * share)) for kind in DOWN_SECONDS})


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, when `at` of the objects are done and `after` seconds after the last one; it lasts `down` seconds."""

    kind: str
    at: float
    after: float
    down: float
    victim: int


def make_schedule(seed: int, counts: Counts) -> list[Fault]:
    """Make the storm of this seed."""
    chance = random.Random(seed)  # noqa: S311 - a storm must be repeatable
    kinds = [kind for kind in DOWN_SECONDS for _ in range(getattr(counts, kind))]
    chance.shuffle(kinds)
    moments = sorted(chance.uniform(FIRST, LAST) for _ in kinds)
    faults: list[Fault] = []
    for kind, moment in zip(kinds, moments, strict=True):
        follows = bool(faults) and chance.random() < FOLLOWING
        faults.append(
            Fault(
                kind,
                at=faults[-1].at if follows else moment,
                after=chance.uniform(0.0, FOLLOWS_WITHIN) if follows else 0.0,
                down=chance.uniform(*DOWN_SECONDS[kind]),
                victim=chance.randrange(CONSUMERS),
            )
        )
    return faults
