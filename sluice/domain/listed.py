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
    """Why the object can't be read; it is quarantined directly."""
    reason: Reason = Reason.UNLISTABLE
    """The reason if it is refused."""
    archive_etag: str = ""
    """An entry for an archive itself has its ETag here. If not refused, it says that all members are listed; no row."""
    cursor: bytes = b""
    """Where a listing resumes after this object, if its key doesn't say so."""
