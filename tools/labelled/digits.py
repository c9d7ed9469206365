"""scikit-learn's handwritten digits: 1,797 pictures of ten classes, 8 by 8 pixels, without a download."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final

import numpy as np
from PIL import Image

STRONGEST: Final = 16.0
"""Of the ink of scikit-learn's digits."""


def digits() -> Iterator[tuple[str, bytes]]:
    """Yield the digits as PNGs, each in the folder of what it shows."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - takes seconds, and `scripts/loop --help` needs none of it

    found = load_digits()
    for number, (ink, shown) in enumerate(zip(found.images, found.target, strict=True)):
        file = io.BytesIO()
        Image.fromarray((ink * (255 / STRONGEST)).round().astype(np.uint8)).save(file, "PNG")
        yield f"{shown}/{number}.png", file.getvalue()
