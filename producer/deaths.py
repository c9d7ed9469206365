"""Decides which deaths of consumers count against the objects that they held.

Pure and synchronous, like `producer.leases`, which uses it. The third counted death quarantines an object, so the
object itself must be the cause: other deaths have other causes, and a disconnected consumer isn't dead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

# Two consumers died with the object. If the cause was something else, a third death would quarantine it wrongly, so the
# object waits for a calm moment, but not forever.
CAREFUL_FROM: Final = 2
# The third death doesn't count either if consumers also die without the object, or if this producer saw none of the
# earlier deaths. This spares an object only a few times, so that a real killer is quarantined in the end.
STORM_SECONDS: Final = 60.0
MOST_SPARED: Final = 3
MOST_REMEMBERED: Final = 20_000
MOST_LINES: Final = 1_000


class DeathCounter:
    """The deaths that this producer saw."""

    def __init__(self) -> None:
        self.last = float("-inf")
        self._seen: deque[tuple[float, frozenset[int]]] = deque()
        """Recently lost consumers: when, and what they held."""
        self._spared: dict[int, int] = {}
        """Objects that a consumer died with, and how many of these deaths were not counted."""
        self._lines: dict[bytes, frozenset[int]] = {}
        """Objects of lost consumers, by the line with which these would identify themselves if they came back."""

    def note(self, line: bytes, held: dict[int, int], now: float) -> set[int]:
        """Record a death with objects (id: deaths so far); return the ids that it doesn't count against."""
        spared = {number for number, deaths in held.items() if self._is_spared(number, deaths, now)}
        for number in held:
            self._spared[number] = self._spared.pop(number, 0) + (number in spared)
        while len(self._spared) > MOST_REMEMBERED:
            del self._spared[next(iter(self._spared))]
        self.last = now
        self._seen.append((now, frozenset(held)))
        if line and held:
            self._lines[line] = self._lines.pop(line, frozenset()) | held.keys()
            while len(self._lines) > MOST_LINES:
                del self._lines[next(iter(self._lines))]
        return spared

    def forgive(self, line: bytes) -> None:
        """Record that a consumer that counted as dead is alive: its objects are treated as if nobody saw that death."""
        self.forget(self._lines.pop(line, ()))

    def forget(self, ids: Iterable[int]) -> None:
        """Forget objects, for example because they were committed."""
        for number in ids:
            self._spared.pop(number, None)

    def _is_spared(self, number: int, deaths: int, now: float) -> bool:
        """Return whether this death probably has another cause."""
        while self._seen and now - self._seen[0][0] > STORM_SECONDS:
            self._seen.popleft()
        if deaths < CAREFUL_FROM or self._spared.get(number, 0) >= MOST_SPARED:
            return False
        return number not in self._spared or any(number not in ids for _, ids in self._seen)
