"""Reads a tar's headers as a stream that skips the bytes between them.

If members are small, it reads consecutive ranges of one MiB; if they are large, only the headers.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import Final

from sluice.domain import Reason
from sluice.errors import ObjectError
from sluice.objects.archives.members import (
    IN_TAR,
    ArchiveMember,
    MemberPlace,
    ReadRange,
    is_litter,
    plain,
    refuse_name,
    refuse_nested,
)

BLOCK: Final = 512
STREAMED: Final = 1024 * 1024
ALONE: Final = 4 * BLOCK
NEAR: Final = 256 * 1024
"""Headers that are closer than this are read in one stream."""
HEADER_MAX: Final = 1024 * 1024
"""Maximum size of the extra headers before a member (for example its long name)."""
HEADERS_MAX: Final = 16
FILES: Final = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE})
SPARSE: Final = frozenset({tarfile.GNUTYPE_SPARSE})
PACKED: Final = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK": "zip"}
COMPANIONS: Final = frozenset(
    {b"cls", b"cls2", b"id", b"idx", b"index", b"inx", b"json", b"jsonl", b"npy", b"npz", b"pickle", b"pkl", b"pth"}
    | {b"pyd", b"text", b"ten", b"transcript", b"txt", b"caption"}
)
"""Files that WebDataset stores with a picture of the same name: labels and the like, never a picture."""


def read_tar(read: ReadRange, size: int, most: int) -> Iterator[ArchiveMember]:
    """Yield the files in a tar, in its order; at most `most` entries, including directories and links."""
    window = _Window(read)
    at, number, told, headers = 0, 0, _Told(), 0
    while at < size:
        block = window.take(at, BLOCK)
        if block.count(0) == BLOCK:
            return
        header = _header(block, at)
        at += BLOCK
        if header.type in {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}:
            headers += 1
            if header.size > HEADER_MAX or headers > HEADERS_MAX:
                raise _damaged(f"the headers before a member at byte {at:,} are too long")
            told.take(header.type, window.take(at, header.size))
            at += _blocks(header.size)
            continue
        if number >= most:
            raise ObjectError(Reason.ARCHIVE_TOO_LARGE, f"it has more members than SLUICE_ARCHIVE_MEMBERS: {most:,}")
        length = told.size(header)
        if at + length > size:
            raise _damaged(f"it is cut off: member {number + 1:,} ends at byte {at + length:,} of {size:,}")
        member = _member(number, header, told, at, length)
        number, told, headers = number + 1, _Told(), 0
        at += _blocks(length)
        if member is not None:
            yield member
    if number:
        # Its members count all the same: who wrote it may have left out the end, or may have been cut off here.
        raise _damaged(f"it ends without a tar's last blocks, after {number:,} members: it may be cut off")


class _Told:
    """The extra headers before a member's own."""

    def __init__(self) -> None:
        self.name: bytes | None = None
        self.is_sparse = False
        self._size: int | None = None

    def take(self, kind: bytes, data: bytes) -> None:
        """Store a long name, or the records of a pax header that apply to one member."""
        if kind == tarfile.GNUTYPE_LONGNAME:
            self.name = data.split(b"\0", 1)[0]
        elif kind == tarfile.XHDTYPE:
            for word, value in _records(data):
                if word == b"path":
                    self.name = value
                elif word == b"size":
                    self._size = _number(value)
                elif word.startswith(b"GNU.sparse."):
                    self.is_sparse = True

    def size(self, header: tarfile.TarInfo) -> int:
        """Return the number of bytes after a member's header."""
        if header.type in {tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE}:
            return 0
        return header.size if self._size is None else self._size


class _Window:
    """Reads ahead as far as the last steps predict."""

    def __init__(self, read: ReadRange) -> None:
        self._read = read
        self._held = b""
        self._start = 0
        self._asked = 0

    def take(self, at: int, count: int) -> bytes:
        """Return exactly so many bytes."""
        begin = at - self._start
        if begin < 0 or begin + count > len(self._held):
            near = at - self._asked <= NEAR
            self._held, self._start = self._read(at, max(count, STREAMED if near else ALONE)), at
            begin = 0
        self._asked = at
        found = self._held[begin : begin + count]
        if len(found) != count:
            raise _damaged(f"it is cut off at byte {at + len(found):,}")
        return found


def _header(block: bytes, at: int) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, OverflowError) as error:
        kind = next((name for begin, name in PACKED.items() if block.startswith(begin)), "")
        if at == 0:
            raise _damaged(f"it is {kind}, not a plain tar: unpack it" if kind else "it isn't a tar") from error
        raise _damaged(f"its header at byte {at:,} can't be read: {error}") from error
    if header.size < 0:
        raise _damaged(f"its header at byte {at:,} has a negative size")
    return header


def _member(number: int, header: tarfile.TarInfo, told: _Told, at: int, length: int) -> ArchiveMember | None:
    name = plain(header.name.encode(errors="surrogateescape") if told.name is None else told.name)
    if header.type in SPARSE or (told.is_sparse and header.type in FILES):
        return ArchiveMember(number, name, length, None, Reason.MEMBER_COMPRESSION, "it is stored with holes (sparse)")
    if header.type not in FILES or name.endswith(b"/") or is_litter(name) or _is_companion(name):
        return None
    if why := refuse_name(name):
        return ArchiveMember(number, name, length, None, Reason.MEMBER_NAME, why)
    if why := refuse_nested(name):
        return ArchiveMember(number, name, length, None, Reason.NESTED_ARCHIVE, why)
    return ArchiveMember(number, name, length, MemberPlace(IN_TAR, at, length, length))


def _is_companion(name: bytes) -> bool:
    return name.rpartition(b".")[2].lower() in COMPANIONS


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield a pax header's records: each is its length, a space, a word, '=', a value and a newline."""
    at = 0
    while at < len(data) and data[at : at + 1] != b"\0":
        length = _number(data[at : at + 20].split(b" ", 1)[0])
        record = data[at : at + length]
        word, separator, value = record.partition(b" ")[2].partition(b"=")
        if length < 5 or len(record) != length or not separator or not value.endswith(b"\n"):  # noqa: PLR2004 - '5 a=\n'
            raise _damaged("a header before a member can't be read")
        yield word, value[:-1]
        at += length


def _number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 19:  # noqa: PLR2004 - of 64 bits
        raise _damaged("a header before a member lacks a number")
    return int(digits)


def _blocks(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _damaged(what: str) -> ObjectError:
    return ObjectError(Reason.ARCHIVE_DAMAGED, what)
