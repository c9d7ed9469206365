"""Photos for benchmarks: JPEGs of 500 x 375 and about 67 KB, each different, cropped from photographs in packages."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from tools.photos import sample

WIDTH: Final = 500
HEIGHT: Final = 375
TARGET_BYTES: Final = 67_000
SUBJECTS: Final = ("astronaut", "coffee", "chelsea", "motorcycle_left", "rocket", "china", "flower")


def sample_photographs() -> list[Image.Image]:
    """Open the photographs in packages that are large enough to crop."""
    return [sample(name) for name in SUBJECTS]


def _near_target(photo: Image.Image) -> bytes:
    """Encode with the quality whose size is closest to the target."""
    low, high = 40, 98
    best = b""
    while low <= high:
        quality = (low + high) // 2
        buffer = io.BytesIO()
        photo.save(buffer, "JPEG", quality=quality)
        data = buffer.getvalue()
        if not best or abs(len(data) - TARGET_BYTES) < abs(len(best) - TARGET_BYTES):
            best = data
        low, high = (quality + 1, high) if len(data) < TARGET_BYTES else (low, quality - 1)
    return best


def write_photos(folder: Path, count: int, seed: int = 1) -> list[Path]:
    """Write `count` different photos; those of an earlier run are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = sample_photographs()

    def write(number: int) -> Path:
        path = folder / f"{number:06d}.jpg"
        if path.exists():
            return path
        random = np.random.default_rng((seed, number))
        whole = samples[number % len(samples)]
        scale = random.uniform(0.5, 1.0) * min(whole.width / WIDTH, whole.height / HEIGHT)
        width, height = int(WIDTH * scale), int(HEIGHT * scale)
        left = int(random.integers(0, whole.width - width + 1))
        top = int(random.integers(0, whole.height - height + 1))
        cut = whole.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, (left, top, left + width, top + height))
        if random.random() < 0.5:  # noqa: PLR2004 - a coin
            cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        part = path.with_suffix(".part")
        part.write_bytes(_near_target(cut))
        part.rename(path)
        return path

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(write, range(count)))
