"""What is decoded, and by which ways; without the libraries, which only their own environment has."""

from __future__ import annotations

from typing import Final

SIZES: Final = {12: (4000, 3000), 24: (6000, 4000), 48: (8000, 6000)}
"""Width and height by megapixels."""
KINDS: Final = ("jpeg", "png", "webp", "heic")
"""Formats, by the ending of their files."""
OURS: Final = "Sluice"
BASELINE: Final = "Pillow"
WAYS: Final = (OURS, BASELINE, "libvips, thumbnail", "libvips", "cv2", "simplejpeg", "pillow-heif")
SPECIAL: Final = {"simplejpeg": ("jpeg",), "pillow-heif": ("heic",)}
"""Ways that read one format only; all others read all but HEIC."""


def reads(way: str, kind: str) -> bool:
    """Return whether a way reads a format."""
    return kind in SPECIAL.get(way, KINDS[:-1])
