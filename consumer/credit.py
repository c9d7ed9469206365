"""How much work to ask for: only arithmetic.

The credit follows the consumer's own speed, so that a slow consumer holds few objects when a job ends, and a fast one
never waits for its next object.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

FIRST_WINDOW: Final = 8
LEAST_WINDOW: Final = 4
RATE_SECONDS: Final = 2.0
"""The rate is a mean over about so many seconds."""


class CreditPacer:
    """Measures the objects finished per second while there is work, and returns the window that fits."""

    def __init__(self, window: int, window_seconds: float, now: float) -> None:
        self._most = window
        self._seconds = window_seconds
        self._rate: float | None = None
        self._finished = 0
        self._since = now

    def finished(self, count: int) -> None:
        """Count objects that were committed or failed."""
        self._finished += count

    def tick(self, now: float, *, busy: bool) -> None:
        """Add the objects finished since the last tick to the rate; idle time doesn't count."""
        elapsed = now - self._since
        if elapsed <= 0:
            return
        if busy or self._finished:
            rate = self._finished / elapsed
            share = 1 - math.exp(-elapsed / RATE_SECONDS)
            self._rate = rate if self._rate is None and self._finished else self._mean(rate, share)
        self._finished = 0
        self._since = now

    def _mean(self, rate: float, share: float) -> float | None:
        return None if self._rate is None else self._rate + share * (rate - self._rate)

    @property
    def window(self) -> int:
        """Return how many objects to hold at once."""
        if self._rate is None:
            return min(FIRST_WINDOW, self._most)
        return max(min(LEAST_WINDOW, self._most), min(self._most, round(self._rate * self._seconds)))


@dataclass(slots=True)
class CreditAccount:
    """One session's credit: counts from its HELLO, which never decrease."""

    limit: int = 0
    received: int = 0
    finished: int = 0

    @property
    def held(self) -> int:
        """Return how many objects are here."""
        return self.received - self.finished

    @property
    def open(self) -> int:
        """Return how many more the producer may send."""
        return self.limit - self.received

    def extend(self, window: int) -> bool:
        """Raise the limit so that at most `window` objects are held or in transit; return whether it changed."""
        limit = self.finished + window
        if limit <= self.limit:
            return False
        self.limit = limit
        return True
