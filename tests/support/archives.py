"""Archives as people and attackers make them."""

from __future__ import annotations

import copy
import io
import struct
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from unittest import mock

from PIL import Image


def tile(number: int, side: int = 32) -> bytes:
    """Return a small photo, different for each number."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (number % 256, number // 256, 120)).save(buffer, "JPEG")
    return buffer.getvalue()


def tiles(count: int, folder: str = "") -> dict[str, bytes]:
    """Return so many photos by name."""
    return {f"{folder}{number:05}.jpg": tile(number) for number in range(count)}


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    """Return a zip of files."""
    return zipped_pairs(files.items(), method, comment)


def zipped_pairs(files: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    """Return a zip of files whose names may occur twice."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files:
            archive.writestr(name, data)
        archive.comment = comment
    return buffer.getvalue()


def aligned(files: Mapping[str, bytes], width: int) -> bytes:
    """Return a zip with so many extra bytes in each member's own header, as programs write to align the data."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            member = zipfile.ZipInfo(name)
            member.extra = struct.pack("<HH", 0xD935, width) + bytes(width)
            archive.writestr(member, data)
            member.extra = b""
    return buffer.getvalue()


def overlapping(count: int, data: bytes) -> bytes:
    """Return a zip whose directory has one member `count` times, each under another name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("00.jpg", data)
        (member,) = archive.filelist
        for number in range(1, count):
            twin = copy.copy(member)
            twin.filename = f"{number:02}.jpg"
            archive.filelist.append(twin)
    return buffer.getvalue()


class _Pipe(io.RawIOBase):
    """Takes bytes and can't seek, so that a zip that is written to it needs data descriptors."""

    def __init__(self) -> None:
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.written += bytes(data)  # type: ignore[call-overload] # whatever buffer zipfile gives
        return len(data)  # type: ignore[arg-type]


def piped(files: Mapping[str, bytes]) -> bytes:
    """Return a zip as `zip -` writes it: with sizes and CRCs after each member, in data descriptors."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return bytes(pipe.written)


def zipped64(files: Mapping[str, bytes]) -> bytes:
    """Return a small zip whose headers, directory and end record are those of zip64."""
    buffer = io.BytesIO()
    limit, count = mock.patch.object(zipfile, "ZIP64_LIMIT", 16), mock.patch.object(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    with limit, count, zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
    return buffer.getvalue()


def encrypted(archive: bytes) -> bytes:
    """Return a zip whose members are marked as encrypted."""
    found = bytearray(archive)
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = found.find(signature)
        while at >= 0:
            found[at + flags] |= 1
            at = found.find(signature, at + 4)
    return bytes(found)


def tarred(files: Mapping[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar of files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def webdataset(count: int) -> bytes:
    """Return a shard as WebDataset writes it: for each sample a picture, its class and other metadata."""
    files: dict[str, bytes] = {}
    for number in range(count):
        files |= {f"{number:06}.cls": b"7", f"{number:06}.jpg": tile(number), f"{number:06}.json": b"{}"}
    return tarred(files, tarfile.USTAR_FORMAT)
