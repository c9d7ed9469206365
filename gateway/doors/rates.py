"""How many requests a minute one person or address may send."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MINUTE: Final = 60.0
MOST: Final = 100_000


class Rates:
    """Lets each key do a minute's worth at once, then as fast as the rate; says how long others have to wait."""

    def __init__(self, a_minute: int, most: int = MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._gap = MINUTE / a_minute if a_minute else 0.0
        self._most = most
        self._clock = clock
        self._paid: OrderedDict[str, float] = OrderedDict()
        """Until when each key has used its share up."""

    def take(self, key: str) -> float:
        """Count one request and return 0, or return the seconds to wait and count nothing."""
        if not self._gap:
            return 0.0
        now = self._clock()
        paid = max(now, self._paid.get(key, now))
        wait = paid + self._gap - now - MINUTE
        # Sums of gaps are never exact.
        if wait > self._gap / 1000:
            return wait
        self._paid[key] = paid + self._gap
        self._paid.move_to_end(key)
        while len(self._paid) > self._most:
            self._paid.popitem(last=False)
        return 0.0

    def give_back(self, key: str) -> None:
        """Take back one count."""
        if key in self._paid:
            self._paid[key] -= self._gap
