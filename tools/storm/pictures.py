"""Many different JPEGs, made faster than they can be uploaded: one photo with a different comment each time."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator
from typing import Final

from PIL import Image

SMALL: Final = 96
START_OF_IMAGE: Final = b"\xff\xd8"
COMMENT: Final = b"\xff\xfe"


@functools.cache
def _template(side: int) -> bytes:
    picture = Image.merge("RGB", [Image.linear_gradient("L").rotate(turn) for turn in (0, 90, 180)])
    data = io.BytesIO()
    picture.resize((side, side), Image.Resampling.BICUBIC).save(data, "JPEG", quality=90, progressive=True)
    return data.getvalue()


def picture(number: int, side: int = SMALL) -> bytes:
    """Return a JPEG whose bytes differ from those of all other numbers."""
    text = b"number %d" % number
    return START_OF_IMAGE + COMMENT + (len(text) + 2).to_bytes(2, "big") + text + _template(side)[2:]


def key(number: int) -> str:
    """Return the object's key."""
    return f"{number // 1000:03}/{number:06}.jpg"


def pictures(count: int, side: int = SMALL) -> Iterator[tuple[str, bytes]]:
    """Return `count` keys with their bytes."""
    return ((key(number), picture(number, side)) for number in range(count))
