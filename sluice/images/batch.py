"""The body of a consumer's request to TorchServe: a short header, then raw uint8 rows. Both sides use this file."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sluice.errors import BatchError

BATCH_TYPE: Final = "application/x-sluice-batch"
"""The request's Content-Type."""

CARD_TYPE: Final = "application/x-sluice-card"
"""The Content-Type of a request that asks for the archive's model.json, whatever its body."""

MAGIC: Final = b"SLB1"
CHANNELS: Final = 3
_HEADER: Final = struct.Struct("<4sIII")


def pack(images: Sequence[NDArray[np.uint8]]) -> bytearray:
    """Pack images of one size (height, width, 3) into a body, in order."""
    if not images:
        raise BatchError("no image to pack: expected at least one")
    height, width, channels = images[0].shape
    if channels != CHANNELS:
        raise BatchError(f"an image has {channels} channels: expected {CHANNELS}")
    body = bytearray(_HEADER.size + len(images) * height * width * CHANNELS)
    _HEADER.pack_into(body, 0, MAGIC, len(images), height, width)
    rows = np.frombuffer(body, np.uint8, offset=_HEADER.size).reshape(len(images), height, width, CHANNELS)
    for row, image in zip(rows, images, strict=True):
        if image.shape != row.shape or image.dtype != np.uint8:
            raise BatchError(f"an image is {image.dtype} {image.shape}: expected uint8 {row.shape} as the first one")
        row[...] = image
    return body


def unpack(body: bytes | bytearray | memoryview) -> NDArray[np.uint8]:
    """Return a view of a body as (n, height, width, 3), without a copy; raise BatchError if it isn't a packed batch."""
    if len(body) < _HEADER.size:
        raise BatchError(f"a packed batch begins with {_HEADER.size} bytes of header: the body has {len(body)} bytes")
    magic, count, height, width = _HEADER.unpack_from(body)
    if magic != MAGIC:
        raise BatchError(f"a packed batch begins with {MAGIC!r}: the body begins with {magic!r}")
    expected = _HEADER.size + count * height * width * CHANNELS
    if not count or not height or not width or len(body) != expected:
        raise BatchError(
            f"the header says {count} images of {width} x {height}, which is {expected} bytes: the body has {len(body)}"
        )
    return np.frombuffer(body, np.uint8, offset=_HEADER.size).reshape(count, height, width, CHANNELS)
