"""An object as a listing names it."""

from __future__ import annotations

from dataclasses import dataclass

from sluice.domain.reasons import Reason


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One entry of a bucket's listing."""

    key: bytes
    etag: str
    size: int
    archived: bool = False
    refused: str = ""
    """Why the object can't be read as it is listed; it goes straight into quarantine."""
    reason: Reason = Reason.UNLISTABLE
    """The reason of one that is refused."""
    archive_etag: str = ""
    """Of an entry for an archive itself: its ETag. Not refused, it says that all members are listed, and has no row."""
    cursor: bytes = b""
    """Where a listing goes on after this object, if its key doesn't say so."""
