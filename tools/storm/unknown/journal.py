"""Records what was written to the bucket and when, independently of Sluice, to compare the rows with."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Final

from tools.storm.unknown.contents import Content

GONE: Final = ""
"""The ETag of a deleted key."""


@dataclass(slots=True, eq=False)
class Writing:
    """One version of one key, or its deletion: when it was begun, and when the server acknowledged it."""

    key: bytes
    etag: str
    sha256: bytes
    content: Content | None
    """None: it was deleted."""
    begun: float
    ended: float = inf


class Journal:
    """Every write of every key, in the order in which they were begun; times are those of time.monotonic."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._writings: dict[bytes, list[Writing]] = defaultdict(list)

    def begin(self, key: bytes, content: Content | None, etag: str) -> Writing:
        """Record that a version is about to be written: from now on the key may have it."""
        digest = hashlib.sha256(content.data).digest() if content else b""
        writing = Writing(key, etag, digest, content, time.monotonic())
        with self._lock:
            self._writings[key].append(writing)
        return writing

    def begin_deleting(self, key: bytes) -> Writing:
        """Record that a key is about to be deleted."""
        return self.begin(key, None, GONE)

    def forget(self, writing: Writing) -> None:
        """Remove a write that the server refused."""
        with self._lock:
            self._writings[writing.key].remove(writing)
            if not self._writings[writing.key]:
                del self._writings[writing.key]

    def list_keys(self, prefix: bytes = b"") -> list[bytes]:
        """Return the keys that were ever written, in a stable order."""
        with self._lock:
            return sorted(key for key in self._writings if key.startswith(prefix))

    def of(self, key: bytes) -> list[Writing]:
        """Return all writes of a key."""
        with self._lock:
            return list(self._writings.get(key, ()))

    def last(self, key: bytes) -> Writing | None:
        """Return the last write of a key."""
        found = self.of(key)
        return found[-1] if found else None

    def alive(self, key: bytes, since: float, until: float) -> list[Writing]:
        """Return the writes, including deletions, that the key may have held at some time between these two."""
        writings = self.of(key)
        ends = [*(following.ended for following in writings[1:]), inf]
        return [found for found, end in zip(writings, ends, strict=True) if found.begun <= until and end >= since]

    def changes(self, key: bytes, since: float, until: float) -> list[Writing]:
        """Return the writes that may have happened between these two times."""
        return [found for found in self.of(key) if found.begun <= until and found.ended >= since]

    def dump(self, path: Path) -> None:
        """Write all of it to a file, one write per line."""
        path.write_text("".join(f"{json.dumps(_readable(each))}\n" for each in self._all()))

    def _all(self) -> Iterable[Writing]:
        return (writing for key in self.list_keys() for writing in self.of(key))


def _readable(writing: Writing) -> dict[str, object]:
    key = writing.key.decode(errors="backslashreplace")
    ended = writing.ended if writing.ended != inf else None
    sha256 = writing.sha256.hex()
    return {"key": key, "etag": writing.etag, "sha256": sha256, "begun": writing.begun, "ended": ended}
