"""Files in folders that others read: each is there whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import unquote

SCHEME: Final = "file://"


def path_of(url: str) -> Path:
    """Return the path of a file:// url."""
    return Path(unquote(url.removeprefix(SCHEME)))


@contextmanager
def written_whole(place: Path) -> Iterator[Path]:
    """Give a path to write to; what is there becomes `place` once it is on the disk, and is removed if that fails."""
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)
