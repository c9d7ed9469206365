"""How long to wait before a retry: longer each time, and different for each process."""

from __future__ import annotations

import random
from typing import Final

MOST_DOUBLINGS: Final = 30


def jittered(seconds: float) -> float:
    """Return a random time between half of the seconds and all of them, so that processes don't retry in step."""
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def wait_after(tries: int, first: float, longest: float) -> float:
    """Return the wait after a number of failed tries: it doubles each time, up to the longest, and is jittered."""
    return jittered(min(longest, first * 2.0 ** min(max(tries - 1, 0), MOST_DOUBLINGS)))


class Backoff:
    """The waits between the retries of one operation."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._tries = 0

    def next(self, longest: float | None = None) -> float:
        """Return how long to wait now; the next wait is twice as long."""
        self._tries += 1
        return wait_after(self._tries, self._first, self._longest if longest is None else longest)

    def reset(self) -> None:
        """Start again with the shortest wait, after a success."""
        self._tries = 0
