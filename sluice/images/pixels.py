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

from sluice.domain import Reason
from sluice.errors import ImageError
from sluice.images.preprocessing import Preprocessing

_FILTERS: Final = {"bilinear": FilterType.bilinear, "bicubic": FilterType.catmull_rom}
_REACH: Final = {"bilinear": 1.0, "bicubic": 2.0}
"""How far a filter looks to either side, in pixels of the smaller image."""
_DEEP_FILTERS: Final = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

_AS_THEY_ARE: Final = frozenset({"RGB", "L"})
_DEEP: Final = frozenset({"I", "F"})
_WHOLE_SIXTEEN_BITS: Final = frozenset({"PNG", "PPM"})
"""Formats that fill the 16 bits of an 'I' image, however dark it is."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """How an image has to be turned to stand upright.

    `mirrored`: what is left, and what is at the top of the stored image, will be at the other end. `sideways`: its rows
    will be columns.
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
    """Is the height resized before the width? What bicubic overshoots is cut off in between, so it matters."""


def window(
    size: tuple[int, int], spec: Preprocessing, turn: Rotation = UPRIGHT, extent: tuple[float, float] | None = None
) -> CropWindow:
    """Say which part of an image of `size` Resize and CenterCrop keep.

    `extent`: how much of it there is where libjpeg has scaled it down.
    """
    short = min(size)
    resized = [spec.resize if side == short else int(spec.resize * side / short) for side in size]
    lefts, widths = [], []
    for side, mirrored, there in zip(resized, turn.mirrored, extent or size, strict=True):
        margin = side - spec.crop
        first = round(
            margin / 2
        )  # to the even one of two, as torchvision rounds: it matters which side is counted from
        scale = there / side
        lefts.append((margin - first if mirrored else first) * scale)
        widths.append(min(spec.crop * scale, there - lefts[-1]))
    across, down = (before - after for before, after in zip(size, resized, strict=True))
    if turn.sideways:
        across, down = down, across
    # Pillow 13 begins with the height where that takes away more than twice as much.
    height_first = down > max(0, 2 * across)
    return CropWindow(lefts[0], lefts[1], widths[0], widths[1], height_first is not turn.sideways)


def square(image: Image.Image, spec: Preprocessing, kept: CropWindow) -> Image.Image:
    """Resize and cut in one go."""
    if image.mode in _DEEP or image.mode.startswith("I;"):
        box = (kept.left, kept.top, kept.left + kept.width, kept.top + kept.height)
        return _eight_bits(image, (spec.crop, spec.crop), _DEEP_FILTERS[spec.interpolation], box)
    return _on_white(_resized(_resizable(image), spec, kept))


def whole(image: Image.Image, longest: int) -> Image.Image:
    """Return all of an image in 8-bit RGB, on white, its longest side at most so long."""
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
    """Resize with the processor's vector instructions, which Pillow's own resize doesn't use: the same filters.

    In two steps, in Pillow's order: left alone, the resizer rounds differently, and where bicubic overshoots at sharp
    edges, it cuts off something else between the steps.
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
    Resizer().resize_pil(image, half, ResizeOptions(filtered, crop_box=first))
    small = Image.new(image.mode, (spec.crop, spec.crop))
    Resizer().resize_pil(half, small, ResizeOptions(filtered, crop_box=second))
    return small


def _within_reach(start: float, length: float, end: int, spec: Preprocessing) -> tuple[int, int]:
    """Say which whole pixels the filter looks at: the first, and how many."""
    reach = _REACH[spec.interpolation] * max(1.0, length / spec.crop)
    first = max(0, math.floor(start - reach))
    return first, min(end, math.ceil(start + length + reach)) - first


def _resizable(image: Image.Image) -> Image.Image:
    """Return a mode whose values can be averaged: palette indices, CMYK's products and colours nobody sees can't."""
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        return (image if image.mode == "RGBA" else image.convert("RGBA")).convert("RGBa")
    if image.mode in _AS_THEY_ARE:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _eight_bits(
    image: Image.Image,
    size: tuple[int, int],
    filtered: Image.Resampling,
    box: tuple[float, float, float, float] | None,
) -> Image.Image:
    """Resize at full depth, then scale to 8 bits: the other way round loses a dark image."""
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
