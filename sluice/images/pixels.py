"""Converts any of Pillow's modes to a square of 8-bit RGB: depth, palettes, CMYK, transparency (shown on white).

The square is that of torchvision's Resize and CenterCrop, for which accuracies are published: the whole image is
resized to whole pixels, then cropped at a whole pixel. Only the pixels that are kept are computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer
from PIL import Image

from sluice.domain import Reason
from sluice.errors import ImageError
from sluice.images.preprocessing import Preprocessing

_FILTERS: Final = {"bilinear": FilterType.bilinear, "bicubic": FilterType.catmull_rom}
_REACH: Final = {"bilinear": 1.0, "bicubic": 2.0}
"""How many pixels of the smaller image a filter reads on either side."""
_DEEP_FILTERS: Final = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

AS_THEY_ARE: Final = frozenset({"RGB", "L"})
"""Modes that are resized without a conversion."""
_DEEP: Final = frozenset({"I", "F"})
_WHOLE_SIXTEEN_BITS: Final = frozenset({"PNG", "PPM"})
"""Formats that use all 16 bits of an 'I' image, even if it is dark."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """How an image has to be rotated to be upright.

    `mirrored`: whether left and right, and top and bottom of the stored image, are swapped. `sideways`: whether its
    rows become columns.
    """

    transpose: Image.Transpose | None = None
    mirrored: tuple[bool, bool] = (False, False)
    sideways: bool = False


UPRIGHT: Final = Rotation()


@dataclass(frozen=True, slots=True)
class CropWindow:
    """The part of an image that becomes the square, in the image's own pixels, with fractions."""

    left: float
    top: float
    width: float
    height: float
    height_first: bool
    """Whether the height is resized before the width. It matters: bicubic's overshoots are clipped in between."""


def window(
    size: tuple[int, int], spec: Preprocessing, turn: Rotation = UPRIGHT, extent: tuple[float, float] | None = None
) -> CropWindow:
    """Return the part of an image of `size` that Resize and CenterCrop keep.

    `extent`: the image's size after libjpeg has scaled it down.
    """
    short = min(size)
    resized = [spec.resize if side == short else int(spec.resize * side / short) for side in size]
    lefts, widths = [], []
    for side, mirrored, there in zip(resized, turn.mirrored, extent or size, strict=True):
        margin = side - spec.crop
        first = round(
            margin / 2
        )  # to the nearest even number, as torchvision does: so it matters which side is counted from
        scale = there / side
        lefts.append((margin - first if mirrored else first) * scale)
        widths.append(min(spec.crop * scale, there - lefts[-1]))
    across, down = (before - after for before, after in zip(size, resized, strict=True))
    if turn.sideways:
        across, down = down, across
    # Pillow 13 begins with the height if the height loses more than twice as many pixels as the width.
    height_first = down > max(0, 2 * across)
    return CropWindow(lefts[0], lefts[1], widths[0], widths[1], height_first is not turn.sideways)


def square(image: Image.Image, spec: Preprocessing, kept: CropWindow) -> Image.Image:
    """Resize and crop in one step."""
    if image.mode in _DEEP or image.mode.startswith("I;"):
        box = (kept.left, kept.top, kept.left + kept.width, kept.top + kept.height)
        return _eight_bits(image, (spec.crop, spec.crop), _DEEP_FILTERS[spec.interpolation], box)
    return _on_white(_resized(_resizable(image), spec, kept))


def whole(image: Image.Image, longest: int) -> Image.Image:
    """Return a whole image in 8-bit RGB, on white, its longest side at most `longest`."""
    scale = min(1.0, longest / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    if image.mode in _DEEP or image.mode.startswith("I;"):
        return _eight_bits(image, size, Image.Resampling.BILINEAR, None)
    image = _resizable(image)
    small = Image.new(image.mode, size)
    Resizer().resize_pil(image, small, ResizeOptions(ResizeAlg.convolution(FilterType.bilinear)))
    return _on_white(small)


def _on_white(small: Image.Image) -> Image.Image:
    if small.mode == "RGBa":
        small = small.convert("RGBA")
        small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small)
    return small if small.mode == "RGB" else small.convert("RGB")


def _resized(image: Image.Image, spec: Preprocessing, kept: CropWindow) -> Image.Image:
    """Resize with vector instructions, which Pillow's own resize doesn't use; the filters are the same.

    In two steps, in Pillow's order: in a single step the resizer rounds differently, and clips bicubic's overshoots at
    sharp edges differently.
    """
    filtered = ResizeAlg.convolution(_FILTERS[spec.interpolation])
    left, columns = _within_reach(kept.left, kept.width, image.width, spec)
    top, rows = _within_reach(kept.top, kept.height, image.height, spec)
    if kept.height_first:
        half = Image.new(image.mode, (columns, spec.crop))
        first = CropBox(left, kept.top, columns, kept.height)
        second = CropBox(kept.left - left, 0, min(kept.width, columns - (kept.left - left)), spec.crop)
    else:
        half = Image.new(image.mode, (spec.crop, rows))
        first = CropBox(kept.left, top, kept.width, rows)
        second = CropBox(0, kept.top - top, spec.crop, min(kept.height, rows - (kept.top - top)))
    resizer = Resizer()
    resizer.resize_pil(image, half, ResizeOptions(filtered, crop_box=first))
    small = Image.new(image.mode, (spec.crop, spec.crop))
    resizer.resize_pil(half, small, ResizeOptions(filtered, crop_box=second))
    return small


def _within_reach(start: float, length: float, end: int, spec: Preprocessing) -> tuple[int, int]:
    """Return the whole pixels that the filter reads: the first, and their number."""
    reach = _REACH[spec.interpolation] * max(1.0, length / spec.crop)
    first = max(0, math.floor(start - reach))
    return first, min(end, math.ceil(start + length + reach)) - first


def _resizable(image: Image.Image) -> Image.Image:
    """Return the image in a mode that can be averaged: palette indices, CMYK and hidden colours can't."""
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        return (image if image.mode == "RGBA" else image.convert("RGBA")).convert("RGBa")
    if image.mode in AS_THEY_ARE:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _eight_bits(
    image: Image.Image,
    size: tuple[int, int],
    filtered: Image.Resampling,
    box: tuple[float, float, float, float] | None,
) -> Image.Image:
    """Resize at full depth, then scale to 8 bits: in the other order a dark image loses detail."""
    low, high = (0.0, 65535.0) if image.mode.startswith("I;") else _range(image)
    if image.mode.startswith("I;") and image.mode != "I;16":
        image = image.convert("I")
    small = image.resize(size, filtered, box)
    values = np.asarray(small, np.float32)
    if not (math.isfinite(low) and math.isfinite(high) and np.isfinite(values).all()):
        raise ImageError(Reason.CORRUPT, "some pixels are not finite numbers")
    scaled = (values - low) * (255.0 / max(high - low, 1e-30))
    return Image.fromarray(scaled.round().clip(0, 255).astype(np.uint8)).convert("RGB")


def _range(image: Image.Image) -> tuple[float, float]:
    """Return the values of black and white. 32-bit formats don't say; the smallest usual range that fits is taken."""
    if image.format in _WHOLE_SIXTEEN_BITS:
        return 0.0, 65535.0
    low, high = (float(value) for value in image.getextrema())  # type: ignore[arg-type]  # one band: two numbers
    if low >= 0:
        tops = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        for top in tops:
            if high <= top:
                return 0.0, top
    return low, high
