"""From any of Pillow's modes to a square of 8-bit RGB: depth, palettes, CMYK, transparency (shown on white).

The square is the one that torchvision's Resize and CenterCrop leave, for accuracies are published for these: the whole
image resized to whole pixels, then cut at a whole pixel. Only what is kept is computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer
from PIL import Image

from sluice.images.preprocessing import Preprocessing
from sluice.images.refusal import ImageError

_FILTERS: Final = {"bilinear": FilterType.bilinear, "bicubic": FilterType.catmull_rom}
_REACH: Final = {"bilinear": 1.0, "bicubic": 2.0}
"""How far a filter looks to either side, in pixels of the smaller image."""
_DEEP_FILTERS: Final = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

_AS_THEY_ARE: Final = frozenset({"RGB", "L"})
_DEEP: Final = frozenset({"I", "F"})
_WHOLE_SIXTEEN_BITS: Final = frozenset({"PNG", "PPM"})
"""Formats that fill the 16 bits of an 'I' image, however dark it is."""


@dataclass(frozen=True, slots=True)
class Window:
    """The part of an image that becomes the square, in the image's own pixels, with fractions."""

    left: float
    top: float
    width: float
    height: float


def window(
    size: tuple[int, int],
    spec: Preprocessing,
    *,
    mirrored: tuple[bool, bool] = (False, False),
    extent: tuple[float, float] | None = None,
) -> Window:
    """Say which part of an image of `size` Resize and CenterCrop keep.

    `mirrored`: the image will be seen the other way round, left to right and top to bottom. `extent`: how much of it
    there is where libjpeg has scaled it down.
    """
    short = min(size)
    resized = [spec.resize if side == short else int(spec.resize * side / short) for side in size]
    extents = extent or size
    lefts, widths = [], []
    for side, other_way, there in zip(resized, mirrored, extents, strict=True):
        margin = side - spec.crop
        first = round(
            margin / 2
        )  # to the even one of two, as torchvision rounds: it matters which side is counted from
        scale = there / side
        lefts.append((margin - first if other_way else first) * scale)
        widths.append(min(spec.crop * scale, there - lefts[-1]))
    return Window(lefts[0], lefts[1], widths[0], widths[1])


def square(image: Image.Image, spec: Preprocessing, kept: Window) -> Image.Image:
    """Resize and cut in one go."""
    if image.mode in _DEEP or image.mode.startswith("I;"):
        return _resized_deep(image, spec, kept)
    small = _resized(_resizable(image), spec, kept)
    if small.mode == "RGBa":
        small = small.convert("RGBA")
        small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small)
    return small if small.mode == "RGB" else small.convert("RGB")


def _resized(image: Image.Image, spec: Preprocessing, kept: Window) -> Image.Image:
    """Resize with the processor's vector instructions, which Pillow's own resize doesn't use: the same filters.

    In two steps, first the width: the resizer itself would begin with the height, and where bicubic overshoots at sharp
    edges, what is cut off at 0 and 255 between the steps would be something else than in Pillow.
    """
    filtered = ResizeAlg.convolution(_FILTERS[spec.interpolation])
    reach = _REACH[spec.interpolation] * max(1.0, kept.height / spec.crop)
    first = max(0, math.floor(kept.top - reach))
    rows = min(image.height, math.ceil(kept.top + kept.height + reach)) - first
    narrow = Image.new(image.mode, (spec.crop, rows))
    Resizer().resize_pil(image, narrow, ResizeOptions(filtered, crop_box=CropBox(kept.left, first, kept.width, rows)))
    small = Image.new(image.mode, (spec.crop, spec.crop))
    box = CropBox(0, kept.top - first, spec.crop, min(kept.height, rows - (kept.top - first)))
    Resizer().resize_pil(narrow, small, ResizeOptions(filtered, crop_box=box))
    return small


def _resizable(image: Image.Image) -> Image.Image:
    """Give a mode whose values can be averaged: palette indices, CMYK's products and colours nobody sees can't."""
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        return (image if image.mode == "RGBA" else image.convert("RGBA")).convert("RGBa")
    if image.mode in _AS_THEY_ARE:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _resized_deep(image: Image.Image, spec: Preprocessing, kept: Window) -> Image.Image:
    """Resize at full depth, then scale to 8 bits: the other way round loses a dark image."""
    low, high = (0.0, 65535.0) if image.mode.startswith("I;") else _range(image)
    if image.mode.startswith("I;") and image.mode != "I;16":
        image = image.convert("I")
    box = (kept.left, kept.top, kept.left + kept.width, kept.top + kept.height)
    small = image.resize((spec.crop, spec.crop), _DEEP_FILTERS[spec.interpolation], box)
    values = np.asarray(small, np.float32)
    if not (math.isfinite(low) and math.isfinite(high) and np.isfinite(values).all()):
        raise ImageError("corrupt", "some pixels are not finite numbers")
    scaled = (values - low) * (255.0 / max(high - low, 1e-30))
    return Image.fromarray(scaled.round().clip(0, 255).astype(np.uint8)).convert("RGB")


def _range(image: Image.Image) -> tuple[float, float]:
    """Which values are black and white. Formats of 32 bits don't say; the usual ranges are tried from the smallest."""
    if image.format in _WHOLE_SIXTEEN_BITS:
        return 0.0, 65535.0
    low, high = (float(value) for value in image.getextrema())  # type: ignore[arg-type]  # one band: two numbers
    if low >= 0:
        tops = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        for top in tops:
            if high <= top:
                return 0.0, top
    return low, high
