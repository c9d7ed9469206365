"""Archives whose members are all in the ledger: watch jobs needn't read them again until they change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from sluice.domain import ListedObject, Reason

MOST: Final = 100_000
"""Number of archives remembered, some 100 bytes each; others are read in every pass."""
SETTLED: Final = frozenset({Reason.ARCHIVE_DAMAGED, Reason.ARCHIVE_TOO_LARGE})
"""Reasons that stay true as long as the archive's bytes do."""


class KnownArchives:
    """What one job's passes have found, while this process runs."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self._met: set[bytes] = set()

    def passes_over(self, archive: ListedObject) -> bool:
        """Return whether an archive needn't be read. May be called from another thread than the loop's."""
        mark = mark_of(archive.key, archive.etag)
        if mark not in self._known:
            return False
        self._met.add(mark)
        return True

    def note(self, page: Iterable[ListedObject]) -> None:
        """Remember the archives that are completely listed by a page that was written."""
        for entry in page:
            if entry.archive_etag and (not entry.refused or entry.reason in SETTLED) and len(self._known) < MOST:
                mark = mark_of(entry.key, entry.archive_etag)
                self._known.add(mark)
                self._met.add(mark)

    def end_pass(self) -> None:
        """Forget archives that the pass didn't find: one that is deleted and comes back is read again."""
        self._known, self._met = self._met & self._known, set()


def mark_of(key: bytes, etag: str) -> bytes:
    """Return 16 bytes that stand for a key's version."""
    return hashlib.blake2b(key + b"\0" + etag.encode(), digest_size=16).digest()
