"""What the loop is told with: pictures with labels to begin with, and more that come later, whose truth is known."""

from __future__ import annotations

import hashlib
import io
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from PIL import Image

from tools.labelled.digits import digits
from tools.labelled.emoji import ARTISTS, drawings

ALIKE: Final = "8359174620"
"""The digits, those first that are most easily taken for each other."""
DARK: Final = 0.35
"""What is left of the light of a camera that has become dark."""
Pictures = Mapping[str, bytes]
"""By LABEL/name.png."""


@dataclass(frozen=True, slots=True)
class LoopPictures:
    """The pictures of one run."""

    model: str
    told: str
    labelled: Pictures
    new: Pictures
    """Come once the first model is there."""
    more: Pictures
    """Come while the second model is tried out."""


def some_digits(classes: int, labelled: int, new: int, more: int) -> LoopPictures:
    """Return so many pictures of each of some digits, which are most easily taken for each other."""
    shelves = defaultdict[str, list[tuple[str, bytes]]](list)
    for key, data in digits():
        shelves[key.partition("/")[0]].append((key, data))
    chosen = [shelves[label] for label in ALIKE[:classes]]
    parts = [
        dict(each for shelf in chosen for each in shelf[start : start + count])
        for start, count in ((0, labelled), (labelled, new), (labelled + new, more))
    ]
    return LoopPictures("digits", "handwritten digits", parts[0], mixed(parts[1]), mixed(parts[2]))


def four_artists(held_out: str) -> LoopPictures:
    """Return three artists' drawings with labels; half of the fourth's come first, the others later."""
    labelled = {
        key.replace("/", f"/{artist}-"): data
        for artist in ARTISTS
        if artist != held_out
        for key, data in drawings(artist).items()
    }
    theirs = list(drawings(held_out).items())
    random.Random(1).shuffle(theirs)  # noqa: S311 - which half is which is no secret
    half = len(theirs) // 2
    told = f"drawings of food and of animals; those of {held_out} come later"
    return LoopPictures("emoji", told, labelled, mixed(dict(theirs[:half])), mixed(dict(theirs[half:])))


def darkened(pictures: Pictures) -> dict[str, bytes]:
    """Return pictures as a camera sees them that has become dark."""
    return {key: _dark(data) for key, data in pictures.items()}


def mixed(pictures: Pictures) -> dict[str, bytes]:
    """Return pictures as they come from a camera: in no order, and in no folder that says what they show.

    Only the end of a name does, for the person who is asked.
    """
    return {
        f"{hashlib.sha256(data).hexdigest()[:12]}-{key.partition('/')[0]}.png": data for key, data in pictures.items()
    }


def truth_of(url: str) -> str:
    """Return what a picture shows."""
    return url.rpartition("-")[2].removesuffix(".png")


def _dark(data: bytes) -> bytes:
    file = io.BytesIO()
    with Image.open(io.BytesIO(data)) as opened:
        picture = opened.convert("RGBA" if opened.mode in {"P", "LA", "RGBA"} else "RGB")
    bands = picture.split()
    light = [band.point(lambda value: round(value * DARK)) for band in bands[:3]]
    Image.merge(picture.mode, [*light, *bands[3:]]).save(file, "PNG")
    return file.getvalue()
