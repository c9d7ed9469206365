"""How much work to ask for: arithmetic only.

The credit follows the consumer's own speed, so that a slow one holds little when a job ends and a fast one never waits
for its next object.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

FIRST_WINDOW: Final = 8
LEAST_WINDOW: Final = 4
RATE_SECONDS: Final = 2.0
"""The rate is a mean over about so long."""


class CreditPacer:
    """Measures objects finished a second while there is work, and gives the window that fits."""

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
        """Take what was finished since the last tick into the rate; idle time says nothing of the speed."""
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
    """One session's credit: counts from its HELLO, none ever falls."""

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
        """Raise the limit so that no more than `window` objects are held or on their way; say if that changed it."""
        limit = self.finished + window
        if limit <= self.limit:
            return False
        self.limit = limit
        return True
