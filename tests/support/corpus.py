"""The corpus of bad and odd files: what a bucket may contain, and the right result for each.

`write_corpus(folder)` writes them. Each case has either the reason code that it is refused with, or the maximum
difference between its decoded pixels and the plain photo's.
"""

from __future__ import annotations

import functools
import gzip
import io
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image

from sluice.images import Preprocessing, decode
from tests.support import odd_formats as odd

SPEC: Final = Preprocessing(256, 224, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
PHOTO_SIZE: Final = (384, 256)
LABEL: Final = "espresso"
"""What the photo shows, as ImageNet calls it."""


@dataclass(frozen=True)
class Case:
    """One file. Without `reason` it decodes; its mean difference from the plain photo is at most `near` (of 255)."""

    name: str
    data: bytes
    reason: str | None = None
    near: float = 4.0
    grey: bool = False
    photo: bool = True
    """Whether it shows the whole photo in colour, so that a model must answer LABEL."""

    def distance(self, pixels: NDArray[np.uint8]) -> float:
        """Return the difference of decoded pixels from the photo's, averaged over 8 x 8 pixels because of dithering."""
        plain = Image.fromarray(_plain())
        expected = plain.convert("L").convert("RGB") if self.grey else plain
        return float(np.abs(_blocks(np.asarray(expected)) - _blocks(pixels)).mean())


@functools.cache
def _plain() -> NDArray[np.uint8]:
    return decode(saved(photo(), "PNG"), SPEC, 10**6)


def _blocks(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    blocks: NDArray[np.float64] = pixels.reshape(28, 8, 28, 8, 3).mean((1, 3))
    return blocks


def photo(size: tuple[int, int] = PHOTO_SIZE) -> Image.Image:
    """Return the plain photo: a cup of espresso."""
    path = Path(skimage.__file__).parent / "data" / "coffee.png"
    return Image.open(path).convert("RGB").resize(size, Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:  # noqa: ANN401 - Pillow's options
    """Encode."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_orientation(image: Image.Image, orientation: int, kind: str) -> bytes:
    """Store an image rotated, with the EXIF tag that rotates it back."""
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = image.transpose(turns[orientation]) if orientation in turns else image
    return saved(turned, kind, exif=exif)


def _on_nothing(image: Image.Image) -> Image.Image:
    """Make the picture's bright half transparent: on white it stays bright, on black it would not."""
    made = image.convert("RGBA")
    made.putalpha(image.convert("L").point(lambda value: 0 if value > 250 else 255))
    return made


def jpegs() -> Iterator[Case]:
    """Yield JPEGs, the most common format."""
    plain = photo()
    jpeg = saved(plain, "JPEG", quality=90)
    yield Case("plain.jpg", jpeg)
    yield Case("progressive.jpg", saved(plain, "JPEG", quality=90, progressive=True))
    yield Case("grey.jpg", saved(plain.convert("L"), "JPEG"), grey=True)
    yield Case("cmyk.jpg", saved(plain.convert("CMYK"), "JPEG", quality=90))
    yield Case("quality-10.jpg", saved(plain, "JPEG", quality=10), near=10)
    yield Case("large.jpg", saved(photo((3000, 2000)), "JPEG"), near=8)
    yield Case("no-subsampling.jpg", saved(plain, "JPEG", quality=95, subsampling=0))
    for orientation in range(1, 9):
        yield Case(f"exif-{orientation}.jpg", with_orientation(plain, orientation, "JPEG"))
    yield Case("exif-broken.jpg", saved(plain, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))
    yield Case("exif-nonsense-orientation.jpg", with_orientation(plain, 77, "JPEG"))
    yield Case("garbage-behind.jpg", jpeg + bytes(range(256)) * 4)
    yield Case("two-pictures.mpo", saved(plain, "MPO", save_all=True, append_images=[plain.rotate(180)]))
    yield Case("a-jpeg.png", jpeg)
    yield Case("a-jpeg.txt", jpeg)
    yield Case("a-jpeg-without-extension", jpeg)


def pngs() -> Iterator[Case]:
    """Yield all the modes of PNG."""
    plain = photo()
    deep = Image.fromarray(np.asarray(plain.convert("L"), np.uint16) * 257)
    yield Case("rgb.png", saved(plain, "PNG"), near=1)
    yield Case("rgba-opaque.png", saved(plain.convert("RGBA"), "PNG"), near=1)
    yield Case("rgba-transparent.png", saved(_on_nothing(plain), "PNG"))
    yield Case("la.png", saved(plain.convert("LA"), "PNG"), grey=True)
    yield Case("grey.png", saved(plain.convert("L"), "PNG"), grey=True)
    yield Case("grey-16-bit.png", saved(deep, "PNG"), grey=True)
    yield Case("rgb-16-bit.png", odd.png_48_bit(plain), near=1)
    yield Case("1-bit.png", saved(plain.convert("1"), "PNG"), grey=True, photo=False)
    yield Case("palette.png", saved(plain.quantize(256), "PNG"))
    yield Case("palette-16.png", saved(plain.quantize(16), "PNG"), near=12)
    yield Case("palette-transparent.png", saved(plain.quantize(128), "PNG", transparency=127), near=20)
    yield Case("colour-key.png", saved(plain, "PNG", transparency=(1, 2, 3)), near=1)
    yield Case("animated.png", saved(plain, "PNG", save_all=True, append_images=[plain.rotate(180)]), near=1)
    yield Case("exif-6.png", with_orientation(plain, 6, "PNG"), near=1)
    yield Case("a-png.jpg", saved(plain, "PNG"), near=1)
    yield Case("all-transparent.png", saved(Image.new("RGBA", (300, 300), (0, 0, 0, 0)), "PNG"), near=255, photo=False)


def webs() -> Iterator[Case]:
    """Yield GIF, WebP, AVIF and JPEG 2000."""
    plain = photo()
    other = plain.rotate(180)
    yield Case("still.gif", saved(plain, "GIF"), near=12)
    yield Case("animated.gif", saved(plain, "GIF", save_all=True, append_images=[other], duration=100), near=12)
    yield Case("lossy.webp", saved(plain, "WEBP"))
    yield Case("lossless-alpha.webp", saved(_on_nothing(plain), "WEBP", lossless=True))
    yield Case("animated.webp", saved(plain, "WEBP", save_all=True, append_images=[other]))
    yield Case("plain.avif", saved(plain, "AVIF"))
    yield Case("plain.jp2", saved(plain, "JPEG2000"))
    yield Case(
        "grey-16-bit.jp2",
        saved(Image.fromarray(np.asarray(plain.convert("L"), np.uint16) * 257), "JPEG2000"),
        grey=True,
    )


def tiffs() -> Iterator[Case]:
    """Yield TIFF's compressions and depths."""
    plain = photo()
    grey = np.asarray(plain.convert("L"))
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        yield Case(f"{compression}.tif", saved(plain, "TIFF", compression=compression))
    yield Case("grey-16-bit.tif", saved(Image.fromarray(grey.astype(np.uint16) * 257), "TIFF"), grey=True)
    yield Case(
        "grey-16-bit-big-endian.tif",
        saved(Image.fromarray(grey.astype(np.uint16) * 257), "TIFF", big_endian=True),
        grey=True,
    )
    yield Case("grey-32-bit.tif", saved(Image.fromarray(grey.astype(np.int32) * 8_000_000), "TIFF"), grey=True)
    yield Case("float-0-to-1.tif", saved(Image.fromarray(grey.astype(np.float32) / 255), "TIFF"), grey=True)
    yield Case(
        "float-not-finite.tif", saved(Image.fromarray(np.full((300, 300), np.nan, np.float32)), "TIFF"), "corrupt"
    )
    yield Case("1-bit-fax.tif", saved(plain.convert("1"), "TIFF", compression="group4"), grey=True, photo=False)
    yield Case("cmyk.tif", saved(plain.convert("CMYK"), "TIFF"))
    yield Case("lab.tif", saved(plain.convert("LAB"), "TIFF"), near=12)
    yield Case("pages.tif", saved(plain, "TIFF", save_all=True, append_images=[plain.rotate(180)]), near=1)
    yield Case("exif-8.tif", with_orientation(plain, 8, "TIFF"), near=1)


def rarities() -> Iterator[Case]:
    """Yield the other formats that Pillow reads."""
    plain = photo()
    for kind in ("BMP", "DIB", "PCX", "PPM", "SGI", "TGA", "DDS", "IM", "QOI"):
        yield Case(f"plain.{kind.lower()}", saved(plain, kind), near=1)
    yield Case("palette.bmp", saved(plain.quantize(256), "BMP"))
    yield Case(
        "grey-16-bit.pgm", saved(Image.fromarray(np.asarray(plain.convert("L"), np.uint16) * 257), "PPM"), grey=True
    )
    yield Case("1-bit.pbm", saved(plain.convert("1"), "PPM"), grey=True, photo=False)
    yield Case("1-bit.xbm", saved(plain.convert("1"), "XBM"), grey=True, photo=False)
    yield Case("1-bit.msp", saved(plain.convert("1"), "MSP"), grey=True, photo=False)
    yield Case("float.spider", saved(plain.convert("L").convert("F"), "SPIDER"), grey=True)
    yield Case("square.ico", saved(plain.resize((256, 256)), "ICO"), near=255, photo=False)
    yield Case("square.icns", saved(plain.resize((256, 256)), "ICNS"), near=255, photo=False)
    yield Case("palette.blp", saved(plain.quantize(256), "BLP", blp_version="BLP2"))
    for make in (odd.sun, odd.psd, odd.gbr, odd.dcx, odd.ftex, odd.pixar):
        yield Case(f"plain.{make.__name__}", make(plain), near=1)
    yield Case("grey.fits", odd.fits(plain), grey=True)
    yield Case("grey.imt", odd.imt(plain), grey=True)
    yield Case("square.cur", odd.cur(plain), near=255, photo=False)
    yield Case("few-colours.xv", odd.xvthumb(plain), near=30)
    yield Case("few-colours.xpm", odd.xpm(plain), near=10)
    for size in ((1, 1), (2, 2), (1, 3000), (3000, 1)):
        yield Case(f"{size[0]}-by-{size[1]}.png", saved(Image.new("RGB", size, "white"), "PNG"), near=255, photo=False)


def no_images() -> Iterator[Case]:
    """Yield files that never were images."""
    contents: dict[str, bytes] = {
        "text.jpg": b"This is a text, saved under an image's name.\n" * 40,
        "umlauts.jpg": "Grüße aus dem Süden, ".encode() * 60,
        "page.jpg": b"<!DOCTYPE html><html><head><title>404</title></head><body>Not Found</body></html>",
        "error.png": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><rect/></svg>",
        "data.json": b'{"images": [1, 2, 3]}',
        "table.csv": b"id,label\n1,cat\n2,dog\n",
        "document.pdf": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
        "drawing.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(file) run\n%%EOF\n",
        "drawing.wmf": b"\xd7\xcd\xc6\x9a\0\0" + bytes(80),
        "archive.zip": b"PK\x03\x04" + bytes(60),
        "archive.gz": gzip.compress(b"text"),
        "film.mp4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(50),
        "film.mpg": b"\0\0\x01\xb3" + bytes(60),
        "photo.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50),
        "program": b"\x7fELF" + bytes(200),
        "weather.grib": b"GRIB" + bytes(4) + b"\x01" + bytes(40),
        "one-byte.jpg": b"\xff",
        "zeros.jpg": bytes(5000),
        "noise.jpg": random.Random(1).randbytes(5000),
    }
    yield Case("empty.jpg", b"", "empty")
    for name, data in contents.items():
        yield Case(name, data, "not_an_image")


def broken() -> Iterator[Case]:
    """Yield images that are cut off or damaged."""
    plain = photo()
    whole: dict[str, bytes] = {
        "jpg": saved(plain, "JPEG"),
        "progressive.jpg": saved(plain, "JPEG", progressive=True),
        "png": saved(plain, "PNG"),
        "gif": saved(plain, "GIF"),
        "webp": saved(plain, "WEBP"),
        "avif": saved(plain, "AVIF"),
        "jp2": saved(plain, "JPEG2000"),
        "tif": saved(plain, "TIFF"),
        "lzw.tif": saved(plain, "TIFF", compression="tiff_lzw"),
        "bmp": saved(plain, "BMP"),
        "qoi": saved(plain, "QOI"),
        "psd": odd.psd(plain),
        "ppm": saved(plain, "PPM"),
        "sgi": saved(plain, "SGI"),
        "dds": saved(plain, "DDS"),
        "icns": saved(plain.resize((256, 256)), "ICNS"),
    }
    for ending, data in whole.items():
        yield Case(f"half.{ending}", data[: len(data) // 2], "truncated")
    for ending in ("jpg", "png", "gif", "webp", "bmp"):
        yield Case(f"header-only.{ending}", whole[ending][:20], "truncated")
        yield Case(f"last-bytes-gone.{ending}", whole[ending][:-30], "truncated")
    png = bytearray(whole["png"])
    png[len(png) // 2 : len(png) // 2 + 400] = bytes(400)
    yield Case("damaged.png", bytes(png), "corrupt")
    yield Case("short-rows.png", odd.png(300, 300, 8, 2, b"\0" * 50), "truncated")
    yield Case("impossible-depth.png", odd.png(300, 300, 7, 2, b"\0" * 50), "corrupt")
    yield Case("damaged.webp", whole["webp"][:20] + bytes(len(whole["webp"]) - 20), "corrupt")
    yield Case("damaged-header.jpg", b"\xff\xd8\xff\xc0\0\x03\0" + whole["jpg"][200:], "corrupt")
    yield Case("odd-depth.bmp", whole["bmp"][:28] + b"\x05" + whole["bmp"][29:], "corrupt")
    yield Case("no-directory.tif", b"II*\0\x08\0\0\0\0\0" + bytes(40), "corrupt")


def bombs() -> Iterator[Case]:
    """Yield small files that claim to be, or unpack to, too many pixels."""
    side = 30_000
    jpeg = bytearray(saved(photo(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0") + 5
    jpeg[frame : frame + 4] = struct.pack(">HH", side, side)
    bmp = bytearray(saved(photo(), "BMP"))
    bmp[18:26] = struct.pack("<ii", side, side)
    tif = saved(photo(), "TIFF", compression="tiff_lzw")
    for tag, size in zip((256, 257), PHOTO_SIZE, strict=True):
        tif = tif.replace(struct.pack("<HHIHH", tag, 3, 1, size, 0), struct.pack("<HHIHH", tag, 3, 1, side, 0))
    inner = odd.png(side, side, 1, 0, b"\0" * 100)
    contents: dict[str, Callable[[], bytes] | bytes] = {
        "whole-bomb.png": lambda: odd.png_bomb(side),
        "claim.png": odd.png(side, side, 8, 6, b"\0" * 100),
        "claim.jpg": bytes(jpeg),
        "claim.bmp": bytes(bmp),
        "claim.tif": tif,
        "claim.gif": b"GIF89a" + struct.pack("<HHBBB", side, side, 0, 0, 0) + b",\0\0\0\0" + bytes(20),
        "claim.webp": b"RIFF"
        + struct.pack("<I", 22)
        + b"WEBPVP8X"
        + struct.pack("<II", 10, 0)
        + b"\xfe\x3f\0\xfe\x3f\0",
        "claim.ppm": f"P6\n{side} {side}\n255\n".encode() + bytes(100),
        "claim.psd": struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, side, side, 8, 3) + bytes(100),
        "claim.qoi": b"qoif" + struct.pack(">IIBB", side, side, 3, 0) + bytes(100),
        "claim.tga": struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, side, side, 24, 0) + bytes(100),
        "claim-inside.ico": struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 32, len(inner), 22) + inner,
    }
    for name, data in contents.items():
        yield Case(name, data() if callable(data) else data, "too_many_pixels")


@functools.cache
def corpus() -> tuple[Case, ...]:
    """Return all of them, which take seconds to make, once."""
    kinds = (jpegs, pngs, webs, tiffs, rarities, no_images, broken, bombs)
    return tuple(case for kind in kinds for case in kind())


def write_corpus(folder: Path) -> dict[Path, Case]:
    """Write all of them, one file each."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {folder / case.name: case for case in corpus()}
    for path, case in written.items():
        path.write_bytes(case.data)
    return written
