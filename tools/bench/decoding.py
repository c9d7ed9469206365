"""Tell what a consumer does with a photo's bytes in its decoding threads, part by part, in one thread alone.

What it takes beside other work is more: caches are cold then, for Python most of all.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import time
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from PIL import Image

from sluice.drift.measuring import measure
from sluice.images import Preprocessing, decode_sized
from sluice.images.pixels import square, window
from tools.bench.photos import write_photos
from tools.cache import cache_folder

T = TypeVar("T")
SPEC: Final = Preprocessing(256, 224, "bicubic", (0.5,) * 3, (0.5,) * 3)
MAX_PIXELS: Final = 100_000_000


def cost(work: Callable[[T], object], things: Iterable[T], passes: int) -> float:
    """Return the milliseconds of processor that one takes, of the fastest pass."""
    things = list(things)
    found = []
    for _ in range(passes):
        began = time.thread_time()
        for each in things:
            work(each)
        found.append(time.thread_time() - began)
    return 1000 * min(found) / len(things)


def _loaded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="scripts/bench decoding", description=__doc__)
    parser.add_argument("--images", type=int, default=100, help="different photos (default: %(default)s)")
    parser.add_argument("--passes", type=int, default=5, help="of which the fastest counts (default: %(default)s)")
    arguments = parser.parse_args()
    files = [
        path.read_bytes()
        for path in write_photos(cache_folder() / "bench" / f"photos-{arguments.images}", arguments.images)
    ]
    image = _loaded(files[0])
    decoded = [decode_sized(data, SPEC, MAX_PIXELS) for data in files]
    parts = {
        "decode to a square, all of it": cost(
            lambda data: decode_sized(data, SPEC, MAX_PIXELS), files, arguments.passes
        ),
        "  its header, by Pillow": cost(lambda data: Image.open(io.BytesIO(data)), files, arguments.passes),
        "  header and pixels, by libjpeg-turbo": cost(_loaded, files, arguments.passes),
        "  resize and crop": cost(lambda _: square(image, SPEC, window(image.size, SPEC)), files, arguments.passes),
        "SHA-256": cost(lambda data: hashlib.sha256(data).digest(), files, arguments.passes),
        "measure for drift": cost(lambda found: measure(*found), decoded, arguments.passes),
    }
    for name, milliseconds in parts.items():
        print(f"{name:<40}{milliseconds:>8.3f} ms of processor a photo")


if __name__ == "__main__":
    main()
