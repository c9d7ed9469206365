"""The interface of a source, and the failures that its callers distinguish."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from sluice.domain import ListedObject, ReadFailure
from sluice.errors import ObjectError


class ObjectChanged(ObjectError):
    """Raised when the key holds other bytes than those of the ETag; `listed` is what it holds now."""

    def __init__(self, listed: ListedObject) -> None:
        super().__init__(ReadFailure.CHANGED, f"the object's ETag is now {listed.etag}")
        self.listed = listed


class Source(Protocol):
    """One bucket or folder, open for listing and reading.

    Every method raises SourceError if the source as a whole can't be read, and ObjectError if it is one object's own
    fault.
    """

    def list(self, after: bytes) -> Iterator[list[ListedObject]]:
        """Return pages of at most 1,000 objects in key order, after a key. Blocks: call it in a thread."""
        ...

    async def read(self, key: bytes, etag: str, limit: int) -> bytes:
        """Return the object's bytes: those of `etag`, at most `limit`; else raise an ObjectError (ObjectChanged)."""
        ...

    async def head(self, key: bytes) -> ListedObject:
        """Return what the key holds now."""
        ...

    def url(self, key: bytes) -> str:
        """Return an object's url for people."""
        ...

    def close(self) -> None:
        """Close connections and threads."""
        ...


class RangedSource(Source, Protocol):
    """A source whose objects can be read in part, as needed for archives."""

    async def read_range(self, key: bytes, etag: str, first: int, length: int) -> bytes:
        """Return so many of the object's bytes from `first` on; fewer only at its end."""
        ...

    def read_range_now(self, key: bytes, etag: str, first: int, length: int) -> bytes:
        """Do the same. Blocks: call it in a thread."""
        ...

    def head_now(self, key: bytes) -> ListedObject:
        """Return what the key holds now. Blocks: call it in a thread."""
        ...
