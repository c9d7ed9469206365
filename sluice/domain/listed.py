"""An object as a listing names it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One entry of a bucket's listing."""

    key: bytes
    etag: str
    size: int
    archived: bool = False
    refused: str = ""
    """Why the object can't be read as it is listed; it goes straight into quarantine."""
