"""What a source must do, and the ways in which it fails that its callers tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from sluice.domain import ListedObject, ReadFailure
from sluice.errors import ObjectError


class ObjectChanged(ObjectError):
    """Raised when the key now holds other bytes than the ETag asked for; `listed` is what it holds."""

    def __init__(self, listed: ListedObject) -> None:
        super().__init__(ReadFailure.CHANGED, f"the object's ETag is now {listed.etag}")
        self.listed = listed


class Source(Protocol):
    """One bucket or folder, open for listing and reading.

    Every method raises SourceError when the source as a whole can't be read, and ObjectError when it is one object's
    own fault.
    """

    def list(self, after: bytes) -> Iterator[list[ListedObject]]:
        """Return pages of at most 1,000 objects in the order of keys, after a key. Blocks: call it in a thread."""
        ...

    async def read(self, key: bytes, etag: str, limit: int) -> bytes:
        """Return the object's bytes: those of `etag` and at most `limit`, or raise Changed or another ObjectError."""
        ...

    async def head(self, key: bytes) -> ListedObject:
        """Say what the key holds now."""
        ...

    def url(self, key: bytes) -> str:
        """Name an object for people."""
        ...

    def close(self) -> None:
        """Let go of connections and threads."""
        ...


class RangedSource(Source, Protocol):
    """A source whose objects can be read in part, as archives in it are."""

    async def read_range(self, key: bytes, etag: str, first: int, length: int) -> bytes:
        """Return so many of the object's bytes from `first` on; fewer only at its end."""
        ...

    def read_range_now(self, key: bytes, etag: str, first: int, length: int) -> bytes:
        """Do the same. Blocks: call it in a thread."""
        ...

    def head_now(self, key: bytes) -> ListedObject:
        """Say what the key holds now. Blocks: call it in a thread."""
        ...
