"""What a watched prefix held when it was listed last: a glance writes only what is new to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from producer.known_archives import mark_of
from sluice.domain import ListedObject

MOST: Final = 50_000
"""Number of keys remembered for a job, some 100 bytes each. A larger prefix isn't glanced at."""


class SeenKeys:
    """The versions of one prefix's keys. A pass or a glance meets them anew; what it doesn't meet is forgotten."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._seen: set[bytes] = set()
        self._met: set[bytes] = set()
        self.is_too_many = False

    def begin(self) -> None:
        """Begin a pass or a glance; one that was broken off is forgotten."""
        self._met = set()
        self.is_too_many = False

    def unseen(self, page: Iterable[ListedObject]) -> list[ListedObject]:
        """Return the entries that the listing before didn't have."""
        return [entry for entry in page if mark_of(entry.key, entry.etag) not in self._seen]

    def note(self, page: Iterable[ListedObject]) -> None:
        """Remember a page whose entries are all in the ledger."""
        if not self.is_too_many:
            self._met.update(mark_of(entry.key, entry.etag) for entry in page)
            self.is_too_many = len(self._met) > self._most

    def end(self) -> None:
        """Forget what was not met: a key that is deleted and comes back is new again."""
        self._seen, self._met = self._met, set()
