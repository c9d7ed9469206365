"""Large photos to decode: pieces of photographs in packages, enlarged, with the noise of a camera's sensor."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pillow_heif
from PIL import Image

from tools.bench.decoders.roster import SIZES

NOISE: Final = 5.0
"""Standard deviation in levels, before the picture is blurred by half a pixel as a camera's colour filter does."""
ENCODED: Final[Mapping[str, Mapping[str, Any]]] = {
    "jpeg": {"quality": 90},
    "png": {"compress_level": 3},
    "webp": {"quality": 85, "method": 1},
    "heic": {"quality": 70, "enc_params": {"preset": "ultrafast"}},
}
FORMATS: Final = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "heic": "HEIF"}


def write(photo: Path, folder: Path, megapixels: int) -> None:
    """Write one size in all formats."""
    pillow_heif.register_heif_opener()
    size = SIZES[megapixels]
    with Image.open(photo) as image:
        large = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC), np.float32)
    noise = NOISE * np.random.default_rng(megapixels).standard_normal((size[1], size[0], 1), np.float32)
    noise = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1) + np.roll(noise, (1, 1), (0, 1))) / 2
    noisy = Image.fromarray((large + noise).clip(0, 255).astype(np.uint8))
    for kind, options in ENCODED.items():
        path = folder / f"{megapixels}.{kind}"
        if not path.exists():
            part = path.with_suffix(".part")
            noisy.save(part, FORMATS[kind], **options)
            part.rename(path)


def main() -> None:
    """Write what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("megapixels", type=int, choices=SIZES)
    arguments = parser.parse_args()
    write(arguments.photo, arguments.folder, arguments.megapixels)


if __name__ == "__main__":
    main()
