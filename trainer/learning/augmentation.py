"""Pictures as they might have been taken as well: a little turned, moved, larger or smaller, brighter or darker.

Nothing is mirrored: a mirrored digit or sign is another one. What happens to a picture depends on the seed, the epoch
and its content only.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

DEGREES: Final = 12.0
MOVED: Final = 0.08
SCALED: Final = 0.15
LIT: Final = 0.25


def varied(pixels: NDArray[np.uint8], seed: int, epoch: int, sha256: str) -> NDArray[np.uint8]:
    """Return a variation of a square picture."""
    dice = np.random.default_rng([seed, epoch, int(sha256[:16], 16)])
    side = pixels.shape[0]
    angle = math.radians(dice.uniform(-DEGREES, DEGREES))
    scale = math.exp(dice.uniform(-SCALED, SCALED))
    right, down = dice.uniform(-MOVED, MOVED, 2) * side
    cosine, sine, middle = math.cos(angle) / scale, math.sin(angle) / scale, side / 2
    # Where each new pixel comes from: turned and scaled around the middle, then moved.
    places = (
        *(cosine, sine, middle - cosine * (middle + right) - sine * (middle + down)),
        *(-sine, cosine, middle + sine * (middle + right) - cosine * (middle + down)),
    )
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ground = tuple(int(level) for level in np.median(border, axis=0))
    picture = Image.fromarray(pixels).transform(
        (side, side), Image.Transform.AFFINE, places, Image.Resampling.BILINEAR, fillcolor=ground
    )
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast):
        picture = enhance(picture).enhance(dice.uniform(1 - LIT, 1 + LIT))
    return np.asarray(picture)
