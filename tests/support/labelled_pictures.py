"""Small pictures of two or more kinds, easy to tell apart, and labelled by their folders."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

KINDS: Final = ("circle", "square", "triangle")
SIDE: Final = 48


def drawing(kind: str, number: int, side: int = SIDE) -> bytes:
    """Return a PNG of a shape, another one for each number."""
    dice = np.random.default_rng([KINDS.index(kind), number])
    ground, ink = (tuple(int(value) for value in dice.integers(low, low + 100, 3)) for low in (150, 0))
    picture = Image.new("RGB", (side, side), ground)
    left, top = (int(value) for value in dice.integers(0, side // 3, 2))
    size = int(dice.integers(side // 3, side // 2))
    box = (left, top, left + size, top + size)
    draw = ImageDraw.Draw(picture)
    if kind == "circle":
        draw.ellipse(box, fill=ink)
    elif kind == "square":
        draw.rectangle(box, fill=ink)
    else:
        draw.polygon([(left, top + size), (left + size, top + size), (left + size // 2, top)], fill=ink)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def labelled(kinds: tuple[str, ...] = KINDS[:2], each: int = 12) -> dict[str, bytes]:
    """Return pictures by their keys, each in the folder of its kind."""
    return {f"{kind}/{number}.png": drawing(kind, number) for kind in kinds for number in range(each)}
