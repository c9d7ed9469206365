"""Which deaths of consumers count against the objects that they held.

Pure and synchronous, as `producer.leases`, which asks it. The third death that counts is an object's end, so it must be
the object's own: others die in storms, and a consumer that was only cut off has not died at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

# Two consumers died with it. Were they dying for another reason, its third one would take it to quarantine unjustly,
# so it waits for a calm moment, though not for ever.
CAREFUL_FROM: Final = 2
# Nor does its third death count where consumers die without it, or where nobody here saw the others: it gets another
# chance, a few times, so that what really kills is given up in the end.
STORM_SECONDS: Final = 60.0
MOST_SPARED: Final = 3
MOST_REMEMBERED: Final = 20_000
MOST_LINES: Final = 1_000


class DeathCounter:
    """The deaths that this producer saw."""

    def __init__(self) -> None:
        self.last = float("-inf")
        self._seen: deque[tuple[float, frozenset[int]]] = deque()
        """The consumers lost of late: when, and what they held."""
        self._spared: dict[int, int] = {}
        """Objects that a consumer died with, and how often that was not counted."""
        self._lines: dict[bytes, frozenset[int]] = {}
        """What was held by the lost consumers that would say so if they came back."""

    def note(self, line: bytes, held: dict[int, int], now: float) -> set[int]:
        """Note a death with objects (id: deaths so far); gives the ids that it is not counted against."""
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
        """Note that a consumer lives which was taken for dead: for its objects it is as if nobody saw that death."""
        self.forget(self._lines.pop(line, ()))

    def forget(self, ids: Iterable[int]) -> None:
        """Forget what is known of objects: they were committed, say."""
        for number in ids:
            self._spared.pop(number, None)

    def _is_spared(self, number: int, deaths: int, now: float) -> bool:
        """Return whether this death is more likely to be another's work."""
        while self._seen and now - self._seen[0][0] > STORM_SECONDS:
            self._seen.popleft()
        if deaths < CAREFUL_FROM or self._spared.get(number, 0) >= MOST_SPARED:
            return False
        return number not in self._spared or any(number not in ids for _, ids in self._seen)
