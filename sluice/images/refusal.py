"""Why an image can't be decoded: a code of `sluice.domain` and a sentence for people.

Pillow raises different exceptions for the same fault, depending on the format. So the fault is determined from the
bytes: which format do they begin with, and do they end where that format says they should?
"""

from __future__ import annotations

import codecs
import struct
import zlib
from collections.abc import Callable
from typing import Final

from PIL import UnidentifiedImageError

from sluice.domain import Reason
from sluice.errors import ImageError

Bytes = bytes | bytearray | memoryview


FAILURES: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    BufferError,
    struct.error,
    zlib.error,
)
"""What Pillow's plug-ins were seen to raise for broken bytes, besides MemoryError and DecompressionBombError."""

_SIGNATURES: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"8BPS", "PSD"),
    (b"icns", "ICNS"),
    (b"qoif", "QOI"),
    (b"DDS ", "DDS"),
)
_AT_FOUR: Final = ((b"ftypavif", "AVIF"), (b"ftypavis", "AVIF"))
_OTHERS: Final = (
    (b"%!PS", "PostScript, which is a program and is not run"),
    (b"\xc5\xd0\xd3\xc6", "PostScript, which is a program and is not run"),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile, which holds drawing commands and no pixels"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"\x7fELF", "a program"),
    (b"OggS", "an Ogg stream"),
    (b"ID3", "an MP3 file"),
    (b"\0\0\x01\xba", "an MPEG video"),
    (b"\0\0\x01\xb3", "an MPEG video"),
    (b"\x89HDF", "an HDF5 file"),
    (b"GRIB", "a GRIB weather file"),
    (b"BUFR", "a BUFR weather file"),
)
_HEIF: Final = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
_CUT: Final = ("truncat", "not enough", "too short", "end of file", "eof", "unexpected end", "buffer is not large")


def begins_as(data: Bytes) -> str | None:
    """Return the format that the first bytes identify with certainty."""
    head = bytes(data[:16])
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    return next((name for signature, name in _AT_FOUR if head[4:].startswith(signature)), None)


def _u32(data: Bytes, at: int, order: str = "<") -> int:
    return int(struct.unpack_from(f"{order}I", data, at)[0]) if len(data) >= at + 4 else len(data) + 1


def _boxes_end_early(data: Bytes) -> bool:
    """Return whether the last box of an AVIF or JPEG 2000 file is longer than the remaining bytes."""
    at = 0
    while at < len(data):
        size = _u32(data, at, ">")
        if size == 0:  # the box extends to the end of the file
            return False
        if size == 1:  # eight more bytes hold its size
            size = struct.unpack_from(">Q", data, at + 8)[0] if len(data) >= at + 16 else len(data) + 1
        at += max(size, 8)
    return at > len(data)


_ENDS_EARLY: Final[dict[str, Callable[[Bytes], bool]]] = {
    "JPEG": lambda data: b"\xff\xd9" not in bytes(data[-1024:]),
    "PNG": lambda data: b"IEND" not in bytes(data[-1024:]),
    "GIF": lambda data: b";" not in bytes(data[-16:]),
    "BMP": lambda data: _u32(data, 2) > len(data),
    "TIFF": lambda data: _u32(data, 4, "<" if bytes(data[:2]) == b"II" else ">") + 2 > len(data),
    "WEBP": lambda data: _u32(data, 4) + 8 > len(data),
    "AVIF": _boxes_end_early,
    "JPEG2000": lambda data: b"\xff\xd9" not in bytes(data[-16:]),
    "ICNS": lambda data: _u32(data, 4, ">") > len(data),
    "QOI": lambda data: bytes(data[-8:]) != b"\0\0\0\0\0\0\0\x01",
    "PSD": lambda data: len(data) < 26,  # noqa: PLR2004 - its header's length
    "DDS": lambda data: len(data) < 128,  # noqa: PLR2004 - its header's length
}


def _guess(data: Bytes) -> str:
    """Describe what the bytes are instead of an image."""
    head = bytes(data[:512])
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    known = next((words for signature, words in _OTHERS if head.startswith(signature)), None)
    if known is None and start.startswith(b"<"):
        known = "an SVG drawing, which has no pixels" if b"<svg" in start else "a page of HTML or XML, perhaps an error"
    if known is None and head[4:8] == b"ftyp":
        known = "a HEIC photo: convert it to JPEG" if head[8:12] in _HEIF else "a video"
    if known is None and not head.strip(b"\0"):
        known = "zeros"
    if known is None:
        known = "text" if _is_text(head) else "bytes of no known image format"
    return known


def _is_text(head: bytes) -> bool:
    try:
        # The last character may be cut off in the middle.
        return "\0" not in codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False


def unopened(data: Bytes, error: BaseException) -> ImageError:
    """Return the error for a header that Pillow couldn't read."""
    name = begins_as(data)
    if name is None:
        return ImageError(Reason.NOT_AN_IMAGE, f"the file's content is {_guess(data)}")
    if _ENDS_EARLY[name](data):
        return ImageError(Reason.TRUNCATED, f"it begins as {name} and ends after {len(data)} bytes, within its header")
    if isinstance(error, UnidentifiedImageError):
        return ImageError(Reason.CORRUPT, f"it begins as {name}, but its header is broken")
    return ImageError(
        Reason.CORRUPT, f"it begins as {name}, but its header is broken or of an unknown kind: {error}"[:300]
    )


def unreadable(data: Bytes, name: str, error: BaseException) -> ImageError:
    """Return the error for pixels that couldn't be read although the header could."""
    said = str(error) or type(error).__name__
    cut = isinstance(error, EOFError) or any(word in said.lower() for word in _CUT)
    if cut or (name in _ENDS_EARLY and _ENDS_EARLY[name](data)):
        return ImageError(Reason.TRUNCATED, f"{name} of {len(data)} bytes ends early: {said}"[:300])
    return ImageError(Reason.CORRUPT, f"{name}: {said}"[:300])
