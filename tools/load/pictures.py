"""Pictures that nobody has sent before: the photos to measure with, each made other bytes of the same pixels."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Final

JPEG_START: Final = b"\xff\xd8"
COMMENT: Final = b"\xff\xfe"
JPEG: Final = {"Content-Type": "image/jpeg"}


def pictures(folder: Path) -> itertools.cycle[bytes]:
    """Return the photos in an endless cycle; `distinct` makes each of them new bytes."""
    return itertools.cycle([path.read_bytes() for path in sorted(folder.glob("*.jpg"))])


def distinct(photo: bytes, mark: str) -> bytes:
    """Return the same picture as other bytes: with a comment, which decoders skip."""
    said = mark.encode()
    return JPEG_START + COMMENT + (len(said) + 2).to_bytes(2, "big") + said + photo[len(JPEG_START) :]
