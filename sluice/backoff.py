"""How long to wait before something is tried again: longer each time, and of no two processes the same."""

from __future__ import annotations

import random
from typing import Final

MOST_DOUBLINGS: Final = 30


def jittered(seconds: float) -> float:
    """Return something between half of the seconds and all of them, so that processes don't come in step."""
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def wait_after(tries: int, first: float, longest: float) -> float:
    """Return the wait after so many tries in vain: twice as long after each, up to the longest; jittered."""
    return jittered(min(longest, first * 2.0 ** min(max(tries - 1, 0), MOST_DOUBLINGS)))


class Backoff:
    """The waits of one thing that is tried again and again until it works."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._tries = 0

    def next(self, longest: float | None = None) -> float:
        """Return how long to wait now; the next wait is twice as long."""
        self._tries += 1
        return wait_after(self._tries, self._first, self._longest if longest is None else longest)

    def reset(self) -> None:
        """Begin anew: it worked."""
        self._tries = 0
