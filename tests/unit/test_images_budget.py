"""The budget of pixels: a bound on memory, however many threads there are."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from PIL import Image

from sluice.images.budget import PixelBudget

SIZE: Final = (1600, 1200)
FORMATS: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "jpeg": ("RGB", "JPEG", {}),
    "grey jpeg": ("L", "JPEG", {}),
    "progressive jpeg": ("RGB", "JPEG", {"progressive": True}),
    "cmyk jpeg": ("CMYK", "JPEG", {}),
    "png": ("RGB", "PNG", {"compress_level": 1}),
    "transparent png": ("RGBA", "PNG", {"compress_level": 1}),
    "palette png": ("P", "PNG", {"compress_level": 1}),
    "webp": ("RGB", "WEBP", {"method": 0}),
    "avif": ("RGB", "AVIF", {"speed": 10}),
    "jpeg2000": ("RGB", "JPEG2000", {}),
    "gif": ("P", "GIF", {}),
    "tiff": ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    "bmp": ("RGB", "BMP", {}),
}
MEASURE: Final = """
import ctypes, io, json, pathlib, sys
from PIL import Image
from sluice.images import Preprocessing, decode
from sluice.images.decode import bytes_a_pixel
spec = Preprocessing(256, 224, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
def kib(field):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))
data = pathlib.Path(sys.argv[1]).read_bytes()
with Image.open(io.BytesIO(data)) as image:
    promised = bytes_a_pixel(image)
decode(pathlib.Path(sys.argv[2]).read_bytes(), spec, 10**8)
ctypes.CDLL("libc.so.6").malloc_trim(0)
pathlib.Path("/proc/self/clear_refs").write_text("5")
before = kib("VmRSS")
decode(data, spec, 10**8)
print(json.dumps([promised, 1024 * (kib("VmHWM") - before)]))
"""


@pytest.mark.parametrize("name", FORMATS)
def test_decoding_takes_as_much_memory_as_is_reserved(tmp_path: Path, name: str) -> None:
    """In a process that has decoded such a file before, with some room for what doesn't grow with the image."""
    mode, kind, options = FORMATS[name]
    noise = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
    for file, size in (("large", SIZE), ("small", (80, 60))):
        Image.fromarray(noise).resize(size).convert(mode).save(tmp_path / file, kind, **options)
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "large"), str(tmp_path / "small")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    promised, taken = json.loads(done.stdout)
    assert taken <= promised * SIZE[0] * SIZE[1] + 4 * 2**20


def test_threads_together_never_hold_more_than_the_room_has() -> None:
    budget, lock = PixelBudget(100), threading.Lock()
    held, peak = 0, 0

    def decode(pixels: int) -> None:
        nonlocal held, peak
        with budget.hold(pixels):
            with lock:
                held += pixels
                peak = max(peak, held)
            with lock:
                held -= pixels

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, [30, 60, 10, 100, 45] * 200))
    assert peak <= 100


def test_an_image_larger_than_the_room_is_let_in() -> None:
    with PixelBudget(100).hold(1000):
        pass
