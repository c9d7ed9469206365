"""Compares Sluice's pixels with those of torchvision's Resize and CenterCrop, and the model's answers for both.

Run it with `.venv/bin/python -m tools.bench.fidelity`.
"""

from __future__ import annotations

import argparse
import io
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from sluice.images import Preprocessing, decode
from tools.bench.bare import MAX_PIXELS, Network
from tools.photos import names, sample
from tools.stack.torchserve import archive_of

SEED: Final = 7
SHAPES: Final = ((4, 3), (3, 2), (3, 4), (1, 1), (16, 9), (3, 1), (2, 3), (1, 2))
SHORT_SIDES: Final = (150, 224, 256, 257, 300, 375, 480, 511, 512, 600, 768, 1024, 1300, 2048, 3100)
ODD: Final = (0, 0, 1, 7, 13)
QUALITIES: Final = (60, 75, 85, 90, 95)
PNG_EVERY: Final = 3


@dataclass(frozen=True)
class Sample:
    """An encoded photo of the corpus."""

    kind: str
    size: tuple[int, int]
    data: bytes


@dataclass(frozen=True)
class Distance:
    """The differences of one photo's pixels, and of its best label's score, from torchvision's."""

    near: float
    most: int
    same_label: bool
    score: float


def corpus(count: int, short_sides: Sequence[int] = SHORT_SIDES) -> Iterator[Sample]:
    """Make photos of many sizes and shapes, every third a PNG, the others JPEGs of several qualities."""
    for number in range(count):
        dice = random.Random(SEED * 1000 + number)  # noqa: S311 - the same at each run
        photo = sample(names()[number % len(names())])
        wide, high = dice.choice(SHAPES)
        short = dice.choice(short_sides) + dice.choice(ODD)
        width, height = short * wide // min(wide, high), short * high // min(wide, high)
        scale = min(photo.width / width, photo.height / height) * dice.uniform(0.7, 1.0)
        left = dice.uniform(0, photo.width - width * scale)
        top = dice.uniform(0, photo.height - height * scale)
        box = (left, top, left + width * scale, top + height * scale)
        cut = photo.resize((width, height), Image.Resampling.BICUBIC, box)
        kind = "JPEG" if number % PNG_EVERY else "PNG"
        buffer = io.BytesIO()
        if kind == "PNG":
            cut.save(buffer, kind, compress_level=1)
        else:
            cut.save(buffer, kind, quality=dice.choice(QUALITIES), subsampling=dice.choice((0, 2, 2)))
        yield Sample(kind, (width, height), buffer.getvalue())


def by_the_recipe(data: bytes, spec: Preprocessing) -> NDArray[np.uint8]:
    """Decode, resize and crop as torchvision does."""
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    steps = Compose([Resize(spec.resize, InterpolationMode(spec.interpolation)), CenterCrop(spec.crop)])
    return np.asarray(steps(upright))


def distance(network: Network, photo: Sample) -> Distance:
    """Compare the two."""
    ours = decode(photo.data, network.preprocessing, MAX_PIXELS)
    theirs = by_the_recipe(photo.data, network.preprocessing)
    apart = np.abs(ours.astype(int) - theirs.astype(int))
    mine, published = (network.predict([pixels])[0] for pixels in (ours, theirs))
    label, score = published[0]
    same = mine[0][0] == label
    return Distance(float((apart <= 1).mean()), int(apart.max()), same, abs(dict(mine).get(label, 0.0) - score))


def main() -> None:
    """Compare the corpus and print a line for each kind."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.fidelity", description=__doc__)
    parser.add_argument("--model", default="efficientnet-lite0", help="an archive of the model store")
    parser.add_argument("--photos", type=int, default=310, help="default: %(default)s")
    arguments = parser.parse_args()
    network = Network(archive_of(arguments.model))
    found: dict[str, list[Distance]] = defaultdict(list)
    for photo in corpus(arguments.photos):
        result = distance(network, photo)
        for kind in ("all", photo.kind):
            found[kind].append(result)
    print(f"{arguments.model}, {network.runs_as.runtime}, {network.runs_as.precision}:")
    print("values within 1 level (mean, worst photo), most levels apart, same top-1, score apart")
    for kind, results in sorted(found.items()):
        near, scores = [each.near for each in results], [each.score for each in results]
        most, same = max(each.most for each in results), sum(each.same_label for each in results) / len(results)
        pixels = f"{np.mean(near):9.4%} {min(near):9.4%}  {most:4}"
        print(f"{kind:5} {len(results):4} photos  {pixels}  {same:7.2%}  {np.mean(scores):.4f} {max(scores):.4f}")


if __name__ == "__main__":
    main()
