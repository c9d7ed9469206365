"""Reads a zip's directory from the end of the archive in pieces, and the header before a member's bytes.

All values are checked against the bytes, and only one piece is in memory. Any content ends in members or an
ObjectError. The standard library's reader isn't used because it loads the whole directory.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sluice.domain import Reason
from sluice.errors import ObjectError
from sluice.objects.archives.members import (
    DEFLATED,
    STORED,
    ArchiveMember,
    MemberPlace,
    ReadRange,
    is_litter,
    plain,
    refuse_name,
    refuse_nested,
)

END: Final = struct.Struct("<4s4H2LH")
LOCATOR: Final = struct.Struct("<4sLQL")
END64: Final = struct.Struct("<4sQ2H2L4Q")
ENTRY: Final = struct.Struct("<4s6H3L5H2L")
LOCAL: Final = struct.Struct("<4s5H3L2H")
PIECE: Final = 1024 * 1024
TAIL: Final = END.size + 0xFFFF + LOCATOR.size + END64.size
IN_ZIP64: Final = 0xFFFFFFFF
ENCRYPTED: Final = 0x2041  # encrypted, strongly encrypted, or with a directory that hides its names
PATCH: Final = 0x20
UNIX: Final = 3
METHODS: Final = {0: STORED, 8: DEFLATED}
ZIP64_FIELD, UTF8_NAME_FIELD = 0x0001, 0x7075


@dataclass(frozen=True, slots=True)
class ZipDirectory:
    """Where the directory is; `base` is the size of the bytes before the archive in its file."""

    start: int
    end: int
    count: int
    base: int


def read_zip(read: ReadRange, size: int, most: int) -> Iterator[ArchiveMember]:
    """Yield the files in a zip, in its directory's order; at most `most` entries, including directories."""
    directory = _find(read, size)
    if directory.count > most:
        raise ObjectError(
            Reason.ARCHIVE_TOO_LARGE, f"it has {directory.count:,} members, more than SLUICE_ARCHIVE_MEMBERS: {most:,}"
        )
    pieces = _Pieces(read, directory.start, directory.end)
    number = 0
    while pieces.left:
        if number >= min(most, directory.count):
            raise _damaged(f"its directory has more than the {directory.count:,} members that it announces")
        head = ENTRY.unpack(pieces.take(ENTRY.size))
        if head[0] != b"PK\x01\x02":
            raise _damaged(f"its directory is broken after member {number:,}")
        name, extra = pieces.take(head[10]), pieces.take(head[11])
        pieces.take(head[12])
        member = _member(number, head, name, extra, directory)
        number += 1
        if member is not None:
            yield member
    if number != directory.count:
        raise _damaged(f"its directory has {number:,} members and announces {directory.count:,}")


def data_begins(header: bytes) -> int:
    """Return the offset of a member's bytes from its header."""
    if len(header) < LOCAL.size or header[:4] != b"PK\x03\x04":
        raise ObjectError(Reason.MEMBER_DAMAGED, "the directory's offset doesn't point to a member")
    name, extra = struct.unpack_from("<2H", header, 26)
    return LOCAL.size + int(name) + int(extra)


def unpack(place: MemberPlace, packed: bytes) -> bytes:
    """Return a member's bytes, checked against the size and CRC of its directory entry."""
    data = packed
    if place.kind == DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = inflater.decompress(packed, place.size + 1)
        except zlib.error as error:
            raise ObjectError(Reason.MEMBER_DAMAGED, f"it can't be unpacked: {error}") from error
    if len(data) != place.size:
        raise ObjectError(Reason.MEMBER_DAMAGED, f"it doesn't have the {place.size} bytes that its directory says")
    if zlib.crc32(data) != place.crc:
        raise ObjectError(Reason.MEMBER_DAMAGED, "its CRC differs from that in its directory")
    return data


class _Pieces:
    """Reads consecutive bytes, with one piece of them in memory."""

    def __init__(self, read: ReadRange, start: int, end: int) -> None:
        self._read = read
        self._at = start
        self._end = end
        self._held = b""
        self._used = 0

    @property
    def left(self) -> int:
        """Number of bytes left."""
        return self._end - self._at + len(self._held) - self._used

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        if count > self.left:
            raise _damaged("its directory ends within a member's entry")
        while len(self._held) - self._used < count:
            more = self._read(self._at, min(PIECE, self._end - self._at))
            if not more:
                raise _damaged("its directory is cut off")
            self._held, self._used = self._held[self._used :] + more, 0
            self._at += len(more)
        self._used += count
        return self._held[self._used - count : self._used]


def _find(read: ReadRange, size: int) -> ZipDirectory:
    """Find the directory, from the record at the archive's end."""
    if size < END.size:
        raise _damaged("it is too short for a zip")
    first = max(0, size - TAIL)
    tail = read(first, size - first)
    at = _end_record(tail)
    _, disk, its_disk, here, count, length, offset, _ = END.unpack_from(tail, at)
    end = first + at
    record = _end64(read, tail, at, end)
    if record is not None:
        end, (_, _, _, _, disk, its_disk, here, count, length, offset) = record
    if disk or its_disk or here != count:
        raise _damaged("it is one part of several: join them into one zip")
    start = end - length
    # Bytes before the archive (for example a program that unpacks it) shift all offsets.
    base = start - offset
    if start < 0 or base < 0:
        raise _damaged("its directory doesn't fit in: the archive's beginning is missing")
    if length < count * ENTRY.size:
        raise _damaged(f"its directory is too short for the {count:,} members that it announces")
    return ZipDirectory(start, end, count, base)


def _end_record(tail: bytes) -> int:
    """Return the position of the last record, preferring one whose comment extends exactly to the end."""
    found: list[int] = []
    at = len(tail)
    while (at := tail.rfind(b"PK\x05\x06", 0, at)) >= 0:
        if at + END.size <= len(tail):
            behind = at + END.size + int(END.unpack_from(tail, at)[7])
            if behind == len(tail):
                return at
            if behind < len(tail):
                found.append(at)
        at += 3
        if len(found) > 100:  # noqa: PLR2004 - somebody plays games
            break
    if not found:
        raise _damaged("it has no directory at its end: it is cut off, or not a zip")
    return found[0]


def _end64(read: ReadRange, tail: bytes, at: int, end: int) -> tuple[int, tuple[int, ...]] | None:
    """Return position and fields of the zip64 record; None if there is none."""
    if at < LOCATOR.size or tail[at - LOCATOR.size : at - LOCATOR.size + 4] != b"PK\x06\x07":
        return None
    said = int(LOCATOR.unpack_from(tail, at - LOCATOR.size)[2])
    for place in (end - LOCATOR.size - END64.size, said):
        if 0 <= place <= end - LOCATOR.size - END64.size:
            record = read(place, END64.size)
            if len(record) == END64.size and record[:4] == b"PK\x06\x06":
                return place, END64.unpack(record)
    raise _damaged("its zip64 record is missing")


def _member(
    number: int, head: tuple[int, ...], raw: bytes, extra: bytes, directory: ZipDirectory
) -> ArchiveMember | None:
    """Convert a directory entry to a member; None for entries that aren't files of the owner's."""
    _, made, _, flags, method, _, _, crc, packed, size, _, _, _, disk, _, attributes, offset = head
    name = plain(_utf8_name(raw, extra))
    is_link = made >> 8 == UNIX and stat.S_IFMT(attributes >> 16) in {stat.S_IFLNK, stat.S_IFDIR}
    if raw.endswith((b"/", b"\\")) or is_link or is_litter(name):
        return None
    wide = _wide((size, packed, offset), extra)
    if wide is None or disk not in {0, 0xFFFF}:
        return ArchiveMember(number, name, 0, None, Reason.MEMBER_DAMAGED, "its zip64 sizes are missing")
    size, packed, offset = wide
    fault = _refuse(name, flags, method)
    if fault is not None:
        return ArchiveMember(number, name, min(size, 2**63 - 1), None, *fault)
    place = MemberPlace(METHODS[method], directory.base + offset, packed, size, crc)
    if place.offset + LOCAL.size + packed > directory.start or not place.is_possible:
        detail = f"its directory says {packed} bytes at {offset}, unpacked {size}: that can't be"
        return ArchiveMember(number, name, 0, None, Reason.MEMBER_DAMAGED, detail)
    return ArchiveMember(number, name, size, place)


def _refuse(name: bytes, flags: int, method: int) -> tuple[Reason, str] | None:
    """Return why a member can't be read, according to its entry."""
    if why := refuse_name(name):
        return Reason.MEMBER_NAME, why
    if flags & ENCRYPTED:
        return Reason.MEMBER_ENCRYPTED, "it is encrypted"
    if why := refuse_nested(name):
        return Reason.NESTED_ARCHIVE, why
    if method not in METHODS or flags & PATCH:
        return Reason.MEMBER_COMPRESSION, f"it is compressed by method {method}; 0 (stored) and 8 (deflate) are read"
    return None


def _wide(values: tuple[int, int, int], extra: bytes) -> tuple[int, int, int] | None:
    """Return size, packed size and offset, if necessary from zip64's field; None if that lacks them."""
    if IN_ZIP64 not in values:
        return values
    field = _field(extra, ZIP64_FIELD)
    missing = values.count(IN_ZIP64)
    if field is None or len(field) < 8 * missing:
        return None
    wide = iter(struct.unpack_from(f"<{missing}Q", field))
    size, packed, offset = (next(wide) if value == IN_ZIP64 else value for value in values)
    return size, packed, offset


def _utf8_name(raw: bytes, extra: bytes) -> bytes:
    """Return the UTF-8 name that some programs write in addition to the one in a local encoding."""
    field = _field(extra, UTF8_NAME_FIELD)
    if field is None or len(field) < 6 or field[0] != 1:  # noqa: PLR2004 - version, CRC, one letter
        return raw
    return field[5:] if zlib.crc32(raw) == int.from_bytes(field[1:5], "little") else raw


def _field(extra: bytes, wanted: int) -> bytes | None:
    """Return one of the extra fields after a name."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == wanted:
            return extra[at + 4 : at + 4 + length]
        at += 4 + int(length)
    return None


def _damaged(what: str) -> ObjectError:
    return ObjectError(Reason.ARCHIVE_DAMAGED, what)
