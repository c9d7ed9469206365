"""From any of Pillow's modes to a square of 8-bit RGB: depth, palettes, CMYK, transparency (shown on white)."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer
from PIL import Image

from sluice.images.preprocessing import Preprocessing
from sluice.images.refusal import ImageError

_FILTERS: Final = {"bilinear": FilterType.bilinear, "bicubic": FilterType.catmull_rom}
_DEEP_FILTERS: Final = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

_AS_THEY_ARE: Final = frozenset({"RGB", "L"})
_DEEP: Final = frozenset({"I", "F"})
_WHOLE_SIXTEEN_BITS: Final = frozenset({"PNG", "PPM"})
"""Formats that fill the 16 bits of an 'I' image, however dark it is."""


def square(image: Image.Image, spec: Preprocessing) -> Image.Image:
    """Resize and cut the centre in one step: only what is kept is computed."""
    if image.mode in _DEEP or image.mode.startswith("I;"):
        return _resized_deep(image, spec)
    small = _resized(_resizable(image), spec)
    if small.mode == "RGBA":
        small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small)
    return small if small.mode == "RGB" else small.convert("RGB")


def centre(image: Image.Image, spec: Preprocessing) -> tuple[float, float, float]:
    """Say where the part that is kept begins, and the length of its side."""
    side = min(image.size) * spec.crop / spec.resize
    return (image.width - side) / 2, (image.height - side) / 2, side


def _resized(image: Image.Image, spec: Preprocessing) -> Image.Image:
    """Resize with the processor's vector instructions, which Pillow's own resize doesn't use: the same filters."""
    left, top, side = centre(image, spec)
    filtered = ResizeAlg.convolution(_FILTERS[spec.interpolation])
    small = Image.new(image.mode, (spec.crop, spec.crop))
    Resizer().resize_pil(image, small, ResizeOptions(filtered, crop_box=CropBox(left, top, side, side)))
    return small


def _resizable(image: Image.Image) -> Image.Image:
    """Give a mode whose values can be averaged: palette indices and CMYK's products can't."""
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    if image.mode in _AS_THEY_ARE:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _resized_deep(image: Image.Image, spec: Preprocessing) -> Image.Image:
    """Resize at full depth, then scale to 8 bits: the other way round loses a dark image."""
    low, high = (0.0, 65535.0) if image.mode.startswith("I;") else _range(image)
    if image.mode.startswith("I;") and image.mode != "I;16":
        image = image.convert("I")
    left, top, side = centre(image, spec)
    box = (left, top, left + side, top + side)
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
