"""Where a listing of archives stands, as the ledger keeps it: behind an archive, or within one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from sluice.domain import ListedObject
from sluice.objects.entries import KEY_MAX_BYTES

END: Final = b"end"


@dataclass(frozen=True, slots=True)
class ListingPlace:
    """So many members of this archive, at this ETag, are listed; all of them, and those before, if it has no ETag."""

    key: bytes = b""
    etag: str = ""
    number: int = 0

    @classmethod
    def read(cls, cursor: bytes) -> Self:
        """Read a cursor; one that is none stands for the beginning, for what is listed twice is there once."""
        number, first, rest = cursor.partition(b" ")
        if number == END and first:
            return cls(rest)
        etag, second, key = rest.partition(b" ")
        if not second or not number.isdigit() or len(number) > 19:  # noqa: PLR2004 - of 64 bits
            return cls()
        return cls(key, etag.decode(errors="replace"), int(number))

    @classmethod
    def can_be(cls, archive: ListedObject) -> bool:
        """Return whether each place in an archive can be kept."""
        return len(cls(archive.key, archive.etag, 2**63).text()) <= KEY_MAX_BYTES

    @property
    def is_within(self) -> bool:
        """Return whether the archive has members that are still to be listed."""
        return bool(self.etag)

    def within(self, archive: ListedObject) -> int:
        """Return the number of an archive's member to begin with: of one that was replaced, the first."""
        return self.number if (archive.key, archive.etag) == (self.key, self.etag) else 0

    def is_behind(self, archive: ListedObject) -> bool:
        """Return whether all of an archive is listed."""
        return not self.etag and archive.key == self.key

    def text(self) -> bytes:
        """Return the cursor: printable, the key last, for it may hold anything."""
        if not self.etag:
            return END + b" " + self.key
        return f"{self.number} {self.etag} ".encode() + self.key
