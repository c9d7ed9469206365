"""How much the gateway takes on at once, in pictures and in bytes; beyond that people are told when to come back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sluice.errors import Busy
from sluice.telemetry import metrics

LONGEST_SECONDS: Final = 30
LONGEST_WAIT: Final = 8.0
"""Seconds of work that may stand before a picture: more would keep its sender waiting for what another could answer."""
HALF_LIFE: Final = 5.0
LEAST: Final = 4
"""So many pictures are always taken: the pace of a gateway that was idle isn't known."""


class Admission:
    """Counts what is inside. The bound follows the pace: what can't be answered soon isn't taken."""

    def __init__(self, pictures: int, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_pictures = pictures
        self._most_bytes = size
        self._clock = clock
        self._pictures = 0
        self._bytes = 0
        self._pace = 0.0
        """Pictures a second, lately, while there was something to do."""
        self._ended_at = clock()
        """When the newest one was answered, or something to do came after there was nothing."""

    @contextmanager
    def hold(self, pictures: int, size: int) -> Iterator[None]:
        """Take on so many pictures of so many bytes in all, or raise Busy."""
        most = self._most()
        if self._pictures and self._pictures + pictures > most:
            raise self._busy(f"{self._pictures} pictures are at work, {most} at once is the most")
        if self._bytes and self._bytes + size > self._most_bytes:
            raise self._busy(f"pictures of {self._bytes:,} bytes are at work, {self._most_bytes:,} at once is the most")
        if not self._pictures:
            self._ended_at = self._clock()
        self._pictures += pictures
        self._bytes += size
        metrics.GATEWAY_INSIDE.set(self._pictures)
        try:
            yield
        finally:
            self._pictures -= pictures
            self._bytes -= size
            metrics.GATEWAY_INSIDE.set(self._pictures)

    def answered(self, pictures: int) -> None:
        """Note that pictures were answered: what the pace is measured by."""
        now = self._clock()
        elapsed = max(now - self._ended_at, 1e-3)
        self._ended_at = now
        weight = 1 - 0.5 ** (elapsed / HALF_LIFE)
        self._pace += weight * (pictures / elapsed - self._pace)

    def _most(self) -> int:
        """Return how many pictures may be inside now."""
        if self._pace <= 0:
            return self._most_pictures
        return max(LEAST, min(self._most_pictures, math.ceil(self._pace * LONGEST_WAIT)))

    def _busy(self, why: str) -> Busy:
        metrics.GATEWAY_REFUSED.inc()
        seconds = math.ceil(self._pictures / self._pace / 2) if self._pace > 0 else 1
        return Busy(f"{why}: send it again in a while", max(1, min(LONGEST_SECONDS, seconds)))
