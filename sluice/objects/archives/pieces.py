"""Reads of an archive's directory through a network that breaks off: in ever smaller pieces, each tried again.

A network that carries little at a time is enough to list an archive, and a read that fails says by where it stopped
whether it is always the same bytes that can't be read.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from sluice.domain import ListedObject
from sluice.errors import ReadBrokenOff
from sluice.objects.source import RangedSource

SMALLEST: Final = 16 * 1024
SMALLER: Final = 4
"""A read that broke off is tried again with so many times fewer bytes."""
TRIES: Final = 3
"""How often a piece of the smallest size is read in a row."""


class PatientReader:
    """Reads ranges of one archive; `at` is where the newest read began, or broke off."""

    def __init__(self, source: RangedSource, archive: ListedObject) -> None:
        self._read = partial(source.read_range_now, archive.key, archive.etag)
        self._size = archive.size
        self.at = 0

    def read(self, first: int, length: int) -> bytes:
        """Return so many bytes from `first` on; fewer only at the archive's end."""
        self.at, end = first, min(first + length, self._size)
        data, piece, tries = b"", length, 0
        while self.at < end:
            try:
                part = self._read(self.at, min(piece, end - self.at))
            except ReadBrokenOff:
                if piece <= SMALLEST:
                    tries += 1
                if tries == TRIES:
                    raise
                piece = max(SMALLEST, piece // SMALLER)
                continue
            if not part:
                break
            data, tries = data + part, 0
            self.at = first + len(data)
        return data
