"""The ways from a file's bytes to a model's input. They run in an environment of their own, locked in decoders.txt.

`Pillow` is what torchvision's Resize and CenterCrop do, and `libvips, thumbnail` what libvips advises. The others
decode only: Sluice's own resizer makes the square, so that they could be used in its place.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
import pillow_heif
import pyvips
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sluice.images import Preprocessing, decode
from sluice.images.pixels import CropWindow, square, window

SPEC: Final = Preprocessing(256, 224, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
MAX_PIXELS: Final = 100_000_000
REACH: Final = 2
"""Pixels of the result that bicubic reads on either side."""

Pixels = NDArray[np.uint8]


def one_thread() -> None:
    """Make each library use one thread, as a consumer's threads do; libvips reads VIPS_CONCURRENCY."""
    cv2.setNumThreads(1)
    pyvips.cache_set_max(0)
    pillow_heif.options.DECODE_THREADS = 1


def _sluice(data: bytes) -> Pixels:
    return decode(data, SPEC, MAX_PIXELS)


def _pillow(data: bytes) -> Pixels:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    short = min(image.size)
    width, height = (SPEC.resize if side == short else int(SPEC.resize * side / short) for side in image.size)
    left, top = round((width - SPEC.crop) / 2), round((height - SPEC.crop) / 2)
    small = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(small.crop((left, top, left + SPEC.crop, top + SPEC.crop)))


def _thumbnail(data: bytes) -> Pixels:
    small = pyvips.Image.thumbnail_buffer(data, SPEC.resize, height=SPEC.resize, crop="centre")
    margin = (SPEC.resize - SPEC.crop) // 2
    return np.asarray(_bands(small).crop(margin, margin, SPEC.crop, SPEC.crop).numpy())


def _vips(data: bytes) -> Pixels:
    return _square(np.asarray(_bands(pyvips.Image.new_from_buffer(data, "", access="sequential")).numpy()))


def _bands(image: pyvips.Image) -> pyvips.Image:
    return image.flatten(background=255) if image.hasalpha() else image


def _cv2(data: bytes) -> Pixels:
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if found is None:
        raise ValueError("cv2 can't read it")
    return _square(found.astype(np.uint8, copy=False))


def _simplejpeg(data: bytes) -> Pixels:
    return _square(simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False))


def _heif(data: bytes) -> Pixels:
    return _square(np.asarray(pillow_heif.open_heif(data, convert_hdr_to_8bit=True)))


def _square(whole: Pixels) -> Pixels:
    """Make the square as Sluice does, of the part that its filter reads."""
    height, width = whole.shape[:2]
    kept = window((width, height), SPEC)
    more = REACH * max(1.0, kept.width / SPEC.crop, kept.height / SPEC.crop) + 1
    left, top = max(0, math.floor(kept.left - more)), max(0, math.floor(kept.top - more))
    part = whole[top : math.ceil(kept.top + kept.height + more), left : math.ceil(kept.left + kept.width + more)]
    moved = CropWindow(kept.left - left, kept.top - top, kept.width, kept.height, kept.height_first)
    return np.array(square(Image.fromarray(np.ascontiguousarray(part)), SPEC, moved))


WAYS: Final[dict[str, Callable[[bytes], Pixels]]] = {
    "Sluice": _sluice,
    "Pillow": _pillow,
    "libvips, thumbnail": _thumbnail,
    "libvips": _vips,
    "cv2": _cv2,
    "simplejpeg": _simplejpeg,
    "pillow-heif": _heif,
}
