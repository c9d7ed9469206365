"""Decodes bytes of any format that Pillow reads to the square of pixels that a model wants, or says why not.

Pillow and the resizer release the GIL, so threads decode in parallel. Pillow's exceptions become ImageErrors here.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, JpegImagePlugin

from sluice.domain import Reason
from sluice.errors import ImageError
from sluice.images.budget import PixelBudget
from sluice.images.pixels import AS_THEY_ARE, UPRIGHT, Rotation, square, whole, window
from sluice.images.preprocessing import Preprocessing
from sluice.images.refusal import FAILURES, unopened, unreadable

# EPS is missing because reading it runs Ghostscript; WMF, MPEG, HDF5, GRIB and BUFR because Pillow can't read their
# pixels; IPTC because it opens an embedded image of any format. Formats without a signature come last.
_WANTED: Final = (
    *("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM", "ICO", "CUR", "PSD", "ICNS", "DDS"),
    *("QOI", "DIB", "PCX", "DCX", "SGI", "SUN", "XBM", "XPM", "MSP", "FITS", "FLI", "BLP", "FTEX", "GBR", "MCIDAS"),
    *("PIXAR", "XVTHUMB", "IM", "IMT", "PCD", "SPIDER", "TGA"),
)
Image.init()
FORMATS: Final = tuple(name for name in _WANTED if name in Image.OPEN)
"""The formats that are tried, in this order."""

# Pillow warns about odd metadata and large images; the cases that matter raise an ImageError here.
warnings.filterwarnings("ignore", module=r"PIL\.")

_budget: Final = PixelBudget(256_000_000)
"""Bytes, however many threads decode."""

_LEAN: Final = frozenset({"JPEG", "PNG", "TIFF"})
"""Formats that are decoded into the image itself, at four bytes a pixel; but for transparency, CMYK and progression."""
_COPYING: Final = {"AVIF": 14, "WEBP": 17, "JPEG2000": 21}
"""Bytes a pixel of decoders that make copies, measured; all others take up to eight."""

SCALED_FROM: Final = 8
"""libjpeg scales only down to this many times the wanted size; from there the resizer smooths out its errors."""

Extent = tuple[float, float] | None
"""The image's size, with fractions, if libjpeg has scaled it down."""
Make = Callable[[Image.Image, tuple[int, int], Rotation, Extent], Image.Image]
"""Makes the result from a loaded image of a size that has to be rotated."""

_ORIENTATION: Final = 0x0112
_TURNS: Final = {
    2: Rotation(Image.Transpose.FLIP_LEFT_RIGHT, (True, False)),
    3: Rotation(Image.Transpose.ROTATE_180, (True, True)),
    4: Rotation(Image.Transpose.FLIP_TOP_BOTTOM, (False, True)),
    5: Rotation(Image.Transpose.TRANSPOSE, (False, False), sideways=True),
    6: Rotation(Image.Transpose.ROTATE_270, (False, True), sideways=True),
    7: Rotation(Image.Transpose.TRANSVERSE, (True, True), sideways=True),
    8: Rotation(Image.Transpose.ROTATE_90, (True, False), sideways=True),
}
"""How to undo each EXIF orientation."""


def decode(data: bytes | bytearray, spec: Preprocessing, max_pixels: int) -> NDArray[np.uint8]:
    """Decode to (crop, crop, 3) uint8, upright, on white; raise an ImageError with a reason if that fails.

    An image of more than `max_pixels` is rejected by its header, before memory is allocated for it.
    """
    return decode_sized(data, spec, max_pixels)[0]


def decode_sized(
    data: bytes | bytearray, spec: Preprocessing, max_pixels: int
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Decode like `decode`; return the size that the header says (width, height) as well."""

    def cut(image: Image.Image, size: tuple[int, int], turn: Rotation, extent: Extent) -> Image.Image:
        return square(image, spec, window(size, spec, turn, extent))

    return _decode(data, SCALED_FROM * spec.resize, cut, max_pixels)


def decode_whole(data: bytes | bytearray, longest: int, max_pixels: int) -> NDArray[np.uint8]:
    """Decode a whole image for people to see, its longest side at most `longest`; otherwise like `decode`."""

    def shrink(image: Image.Image, size: tuple[int, int], turn: Rotation, extent: Extent) -> Image.Image:
        del size, turn, extent
        return whole(image, longest)

    return _decode(data, 2 * longest, shrink, max_pixels)[0]


def _decode(
    data: bytes | bytearray, least: int, make: Make, max_pixels: int
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    if not data:
        raise ImageError(Reason.EMPTY, "the file has 0 bytes")
    try:
        with _open(data, max_pixels) as image:
            size = image.size  # loading may change it
            return _pixels(image, data, least, make, max_pixels), size
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\((\d+) pixels\)", str(error))
        said = f"{pixels[1]} pixels" if pixels else "too many pixels"
        raise ImageError(Reason.TOO_MANY_PIXELS, f"it has {said}: at most {max_pixels} are decoded") from error
    except MemoryError as error:
        raise ImageError(Reason.TOO_MANY_PIXELS, "decoding it needs more memory than there is") from error


def _open(data: bytes | bytearray, max_pixels: int) -> ImageFile.ImageFile:
    # Pillow checks embedded images (ICO, BLP, WebP) itself, and rejects twice this number. The limit is global and the
    # same for every call in a process, so threads don't interfere.
    Image.MAX_IMAGE_PIXELS = (max_pixels + 1) // 2
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except FAILURES as error:
        raise unopened(data, error) from error
    _check_size(image, max_pixels)
    return image


def _check_size(image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        size = f"{image.width} x {image.height}"
        raise ImageError(Reason.TOO_MANY_PIXELS, f"it has {size} pixels: at most {max_pixels} are decoded")


def _pixels(
    image: ImageFile.ImageFile, data: bytes | bytearray, least: int, make: Make, max_pixels: int
) -> NDArray[np.uint8]:
    name = image.format or "image"
    size, extent = image.size, None
    try:
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            # libjpeg scales by 1/2, 1/4 or 1/8 while it decodes, which saves most of the time and memory.
            scaled = image.draft(None, (least, least))
            extent = scaled[1][2:] if scaled else None
        image.decodermaxblock = max(len(data), image.decodermaxblock)
        with _budget.hold(image.width * image.height * bytes_a_pixel(image)):
            image.load()
            _check_size(image, max_pixels)
            turn = _turn(image)
            size = size if extent else image.size  # other formats may change their size when they are loaded
            small = make(image, size, turn, extent)
    except FAILURES as error:
        raise unreadable(data, name, error) from error
    return np.array(small if turn.transpose is None else small.transpose(turn.transpose))


def bytes_a_pixel(image: ImageFile.ImageFile) -> int:
    """Return how much memory decoding takes, which the header tells."""
    plain = image.mode in AS_THEY_ARE and not image.has_transparency_data and not image.info.get("progressive")
    if image.format in _LEAN and plain:
        return 4
    return _COPYING.get(image.format or "", 8)


def _turn(image: Image.Image) -> Rotation:
    """Read the EXIF orientation; broken metadata must not reject a good picture."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1), UPRIGHT)
    except FAILURES:
        return UPRIGHT
