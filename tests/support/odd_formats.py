"""Images in formats that Pillow reads but doesn't write, made byte by byte, for the corpus."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def _rgb(photo: Image.Image) -> bytes:
    return photo.tobytes()


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """Make a PNG of any depth from any rows, which may be too short, or nonsense."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def png_48_bit(photo: Image.Image) -> bytes:
    """16 bits a channel."""
    values = np.asarray(photo, np.uint16) * 257
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(photo.width, photo.height, 16, 2, rows)


def png_bomb(side: int) -> bytes:
    """A whole PNG of side x side black pixels, in some hundred kilobytes."""
    squeeze = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    data = b"".join(squeeze.compress(row) for _ in range(side)) + squeeze.flush()
    head = png(side, side, 1, 0, b"")
    start = head.index(b"IDAT") - 4
    body = struct.pack(">I", len(data)) + b"IDAT" + data + struct.pack(">I", zlib.crc32(b"IDAT" + data))
    return head[:start] + body + head[-12:]


def sun(photo: Image.Image) -> bytes:
    """Sun raster, 24 bits, BGR."""
    data = photo.tobytes("raw", "BGR")
    return struct.pack(">8I", 0x59A66A95, photo.width, photo.height, 24, len(data), 1, 0, 0) + data


def psd(photo: Image.Image) -> bytes:
    """Photoshop, flattened and uncompressed."""
    header = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, photo.height, photo.width, 8, 3)
    planes = b"".join(band.tobytes() for band in photo.split())
    return header + struct.pack(">III", 0, 0, 0) + struct.pack(">H", 0) + planes


def fits(photo: Image.Image) -> bytes:
    """FITS, 8 bits of grey, bottom row first."""
    cards = ["SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    2"]
    cards += [f"NAXIS1  = {photo.width:20d}", f"NAXIS2  = {photo.height:20d}", "END"]
    header = "".join(card.ljust(80) for card in cards)
    grey = photo.convert("L").transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return header.ljust(2880).encode() + grey.tobytes()


def gbr(photo: Image.Image) -> bytes:
    """GIMP brush, RGBA."""
    return (
        struct.pack(">7I", 29, 2, photo.width, photo.height, 4, 0x47494D50, 10)
        + b"\0"
        + photo.convert("RGBA").tobytes()
    )


def dcx(photo: Image.Image) -> bytes:
    """PCX in a wrapper for several pages."""
    page = io.BytesIO()
    photo.save(page, "PCX")
    return struct.pack("<III", 0x3ADE68B1, 12, 0) + page.getvalue()


def cur(photo: Image.Image) -> bytes:
    """A Windows cursor: an icon by another number."""
    icon = io.BytesIO()
    photo.resize((128, 128)).save(icon, "ICO", sizes=[(128, 128)], bitmap_format="bmp")
    data = bytearray(icon.getvalue())
    data[2] = 2
    return bytes(data)


def ftex(photo: Image.Image) -> bytes:
    """A texture of Independence War 2, uncompressed."""
    header = struct.pack("<4s3i4i", b"FTEX", 0, photo.width, photo.height, 1, 1, 1, 32)
    return header + struct.pack("<i", photo.width * photo.height * 3) + _rgb(photo)


def pixar(photo: Image.Image) -> bytes:
    """PIXAR raster."""
    header = bytearray(1024)
    header[:4] = b"\x80\xe8\x00\x00"
    struct.pack_into("<HH", header, 416, photo.height, photo.width)
    struct.pack_into("<HH", header, 424, 14, 2)
    return bytes(header) + _rgb(photo)


def xvthumb(photo: Image.Image) -> bytes:
    """A thumbnail of the XV viewer: 3, 3 and 2 bits of colour."""
    small = np.asarray(photo)
    packed = (small[..., 0] >> 5 << 5) | (small[..., 1] >> 5 << 2) | (small[..., 2] >> 6)
    return f"P7 332\n#END_OF_COMMENTS\n{photo.width} {photo.height} 255\n".encode() + packed.tobytes()


def imt(photo: Image.Image) -> bytes:
    """IM Tools: grey."""
    return f"width {photo.width}\nheight {photo.height}\npixel n8\n".encode() + b"\x0c" + photo.convert("L").tobytes()


def xpm(photo: Image.Image) -> bytes:
    """X pixmap, of 64 colours: it is C source code."""
    few = photo.quantize(64)
    letters = [chr(48 + index) if chr(48 + index) != "\\" else "~" for index in range(64)]
    colours = few.getpalette()[: 64 * 3]  # type: ignore[index]  # it was just quantized: it has a palette
    lines = [f'"{photo.width} {photo.height} 64 1",']
    lines += [
        f'"{c} c #{colours[3 * i]:02x}{colours[3 * i + 1]:02x}{colours[3 * i + 2]:02x}",' for i, c in enumerate(letters)
    ]
    lines += [f'"{"".join(letters[index] for index in row)}",' for row in np.asarray(few)]
    return ("/* XPM */\nstatic char *photo[] = {\n" + "\n".join(lines) + "\n};\n").encode()
