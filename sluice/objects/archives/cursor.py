"""The position of a listing of archives, as the ledger stores it: after an archive, or inside one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from sluice.domain import ListedObject
from sluice.objects.entries import KEY_MAX_BYTES

END: Final = b"end"


@dataclass(frozen=True, slots=True)
class ListingPlace:
    """So many members of this archive (at this ETag) are listed; without an ETag, it and all earlier ones are."""

    key: bytes = b""
    etag: str = ""
    number: int = 0

    @classmethod
    def read(cls, cursor: bytes) -> Self:
        """Read a cursor; an invalid one means the beginning, since listing twice is harmless."""
        number, first, rest = cursor.partition(b" ")
        if number == END and first:
            return cls(rest)
        etag, second, key = rest.partition(b" ")
        if not second or not number.isdigit() or len(number) > 19:  # noqa: PLR2004 - of 64 bits
            return cls()
        return cls(key, etag.decode(errors="replace"), int(number))

    @classmethod
    def can_be(cls, archive: ListedObject) -> bool:
        """Return whether every position in an archive fits into a cursor."""
        return len(cls(archive.key, archive.etag, 2**63).text()) <= KEY_MAX_BYTES

    @property
    def is_within(self) -> bool:
        """Return whether the archive has members left to list."""
        return bool(self.etag)

    def within(self, archive: ListedObject) -> int:
        """Return the number of the archive's first member to list; 0 if the archive was replaced."""
        return self.number if (archive.key, archive.etag) == (self.key, self.etag) else 0

    def is_behind(self, archive: ListedObject) -> bool:
        """Return whether all of an archive is listed."""
        return not self.etag and archive.key == self.key

    def text(self) -> bytes:
        """Return the cursor as printable text; the key is last, because it may contain anything."""
        if not self.etag:
            return END + b" " + self.key
        return f"{self.number} {self.etag} ".encode() + self.key
