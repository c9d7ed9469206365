"""Photos and bad files for the demo, the same at each run: cropped from photographs in installed packages.

Not for benchmarks: formats and sizes are as mixed as in a bucket that people upload to.
"""

from __future__ import annotations

import importlib.util
import io
import random
import struct
import zlib
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Final

from PIL import Image

SEED: Final = 20
SAMPLES: Final = {
    "skimage": (
        "data",
        (
            "astronaut.png brick.png camera.png chelsea.png clock_motion.png coffee.png coins.png grass.png gravel.png "
            "horse.png hubble_deep_field.jpg ihc.png moon.png motorcycle_left.png motorcycle_right.png page.png "
            "retina.jpg rocket.jpg text.png"
        ),
    ),
    "sklearn": ("datasets/images", "china.jpg flower.jpg"),
    "matplotlib": ("mpl-data/sample_data", "grace_hopper.jpg"),
}
PHOTOGENIC: Final = ("astronaut", "chelsea", "coffee", "motorcycle_left", "rocket", "china", "flower", "grace_hopper")
"""Used more often than the others, because the network recognises them."""

FORMATS: Final = ("jpg", "jpg", "jpg", "png", "webp", "jpg", "tiff", "jpg", "gif", "bmp")
SIDES: Final = (180, 240, 320, 480, 640)
THREADS: Final = 2
BOMB_SIDE: Final = 30_000
ORIENTATION: Final = 0x0112


@cache
def sample(name: str) -> Image.Image:
    """Open one of the photographs."""
    return Image.open(photograph(name)).convert("RGB")


def photograph(name: str) -> Path:
    """Return the file of one of the photographs."""
    for package, (folder, files) in SAMPLES.items():
        for file in files.split():
            if Path(file).stem == name:
                return _folder(package) / folder / file
    raise KeyError(name)


def _folder(package: str) -> Path:
    """Return a package's folder, without the seconds that importing it takes."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"no {package} here: run scripts/setup")
    return Path(found.origin).parent


def names() -> list[str]:
    """Return the names of all photographs."""
    return [Path(file).stem for _, files in SAMPLES.values() for file in files.split()]


def photos(count: int) -> Generator[tuple[str, bytes], None, None]:
    """Make `count` different photos: (key, bytes)."""
    subjects = names() + list(PHOTOGENIC) * 2
    for name in subjects:
        sample(name)  # opened here, so that the threads only read
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(lambda number: _photo(number, subjects[number % len(subjects)]), range(count))


def bad_files() -> Iterator[tuple[str, bytes]]:
    """Make 20 files that end in quarantine, for nine different reasons."""
    whole = {
        kind: _encode(sample("chelsea").resize((320, 213)), kind)
        for kind in ("jpg", "png", "webp", "tiff", "gif", "bmp")
    }
    noise = random.Random(SEED).randbytes(4000)  # noqa: S311 - the same at each run
    yield "bad/empty.jpg", b""
    yield "bad/empty.png", b""
    yield "bad/notes.jpg", b"Remember to upload the photos.\n" * 20
    yield "bad/not-found.png", b"<!DOCTYPE html><html><body><h1>404 Not Found</h1></body></html>"
    yield "bad/answer.webp", b'{"error": "access denied", "code": 403}'
    yield "bad/report.jpg", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n"
    yield "bad/backup.gif", b"PK\x03\x04" + noise
    yield "bad/song.jpeg", b"ID3\x04\x00" + noise
    yield "bad/table.tif", b"id;name;price\n1;apple;0.5\n" * 40
    yield "bad/drawing.png", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="4"/></svg>'
    yield "bad/noise.jpg", noise
    yield "bad/only-a-start.jpg", whole["jpg"][:24]
    for kind, data in whole.items():
        yield f"bad/cut-off.{kind}", data[: len(data) // 3]
    yield "bad/damaged.png", _damaged(whole["png"])
    yield "bad/bomb.png", _bomb()


def _photo(number: int, subject: str) -> tuple[str, bytes]:
    """Crop, mirror, resize and encode a photograph: differently for each number."""
    chance = random.Random(SEED * 1_000_003 + number)  # noqa: S311 - the same at each run
    picture = sample(subject)
    share = chance.uniform(0.7, 1.0) if number >= len(names()) else 1.0
    width, height = int(picture.width * share), int(picture.height * share)
    left, top = chance.randint(0, picture.width - width), chance.randint(0, picture.height - height)
    scale = chance.choice(SIDES) / min(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    made = picture.resize(size, Image.Resampling.BICUBIC, (left, top, left + width, top + height))
    if chance.random() < 0.5:  # noqa: PLR2004 - a coin
        made = made.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    kind = FORMATS[number % len(FORMATS)]
    return f"{subject}-{number:03d}.{kind}", _encode(made, kind, number)


def _encode(picture: Image.Image, kind: str, number: int = 0) -> bytes:
    """Encode the picture; some JPEGs are rotated, grey or CMYK, as in real buckets."""
    options: dict[str, Any] = {"jpg": {"quality": 88}, "webp": {"quality": 85}}.get(kind, {})
    if kind == "jpg" and number % 20 == 1:
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        picture, options = picture.transpose(Image.Transpose.ROTATE_90), {**options, "exif": exif}
    elif kind == "jpg" and number % 20 == 7:  # noqa: PLR2004 - any number would do
        picture = picture.convert("CMYK")
    elif kind == "jpg" and number % 20 == 12:  # noqa: PLR2004
        picture = picture.convert("L")
    elif kind == "gif":
        picture = picture.quantize()
    buffer = io.BytesIO()
    picture.save(buffer, {"jpg": "JPEG"}.get(kind, kind.upper()), **options)
    return buffer.getvalue()


def _damaged(png: bytes) -> bytes:
    """Damage the pixels and keep the header."""
    middle = len(png) // 2
    return png[:middle] + bytes(200) + png[middle + 200 :]


def _bomb() -> bytes:
    """Make a small PNG that would take a gigabyte to decode: 30,000 x 30,000 black pixels."""
    row = bytes(1 + BOMB_SIDE // 8)
    pack = zlib.compressobj(9)
    pixels = b"".join(pack.compress(row * 100) for _ in range(BOMB_SIDE // 100)) + pack.flush()
    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 1, 0, 0, 0, 0)
    chunk: Callable[[bytes, bytes], bytes] = lambda kind, data: (  # noqa: E731 - three uses, below
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    )
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
