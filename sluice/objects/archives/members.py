"""Members of archives: what the directory says of each, which are objects, and how a row stores a member's place.

A member's ETag is its archive's ETag, `!`, and its place. So replacing an archive supersedes its members, and reading a
member needs no directory: the row says which bytes, with which condition.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sluice.domain import Reason
from sluice.errors import ObjectError

ReadRange = Callable[[int, int], bytes]
"""Returns so many bytes of the archive from an offset on; fewer only at its end."""

RATIO_FROM_BYTES: Final = 1024 * 1024
"""Smaller members may grow by any factor, as plain white pictures do."""
ARCHIVE_ETAG_MAX: Final = 66
"""Maximum length of an archive's ETag, so that a place fits after it."""
STORED, DEFLATED, IN_TAR, UNREADABLE = "s", "d", "t", "x"

_PLACE: Final = re.compile(r"([sdt])([0-9a-f]{1,16})\.([0-9a-f]{1,16})\.([0-9a-f]{1,16})\.([0-9a-f]{1,8})")
_REFUSED: Final = re.compile(r"x([a-z_]{1,32})\.[0-9a-f]{1,16}")
_MEMBER: Final = re.compile(rb"\.(?:zip|tar)!/", re.IGNORECASE)
_LITTER: Final = re.compile(
    rb"(?:\A|/)(?:__MACOSX/|\.DS_Store\Z|Thumbs\.db\Z|desktop\.ini\Z|\._[^/]*\Z)", re.IGNORECASE
)
_UP: Final = re.compile(r"(?:\A|[/\\])\.\.(?:[/\\]|\Z)")
_ROOT: Final = re.compile(r"[/\\]|[A-Za-z]:[/\\]")
_NESTED: Final = re.compile(rb"\.(?:zip|tar|tgz|tar\.(?:gz|bz2|xz|zst)|7z|rar)\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MemberPlace:
    """Where a member's bytes are: in a zip from the member's header on, in a tar the bytes themselves."""

    kind: str
    offset: int
    packed: int
    size: int
    crc: int = 0

    @property
    def is_possible(self) -> bool:
        """Return whether deflate can pack the member's bytes into so few: it adds little even in the worst case."""
        return self.packed == self.size if self.kind != DEFLATED else self.packed <= self.size + self.size // 500 + 64

    def grows_beyond(self, ratio: int) -> bool:
        """Return whether unpacking increases the size suspiciously."""
        return self.size > RATIO_FROM_BYTES and self.size > self.packed * ratio


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """One file of an archive; `number` counts all entries of the directory, from 0."""

    number: int
    name: bytes
    size: int
    place: MemberPlace | None = None
    reason: Reason | None = None
    detail: str = ""
    """Details of why it can't be read."""


def etag_of(version: str, member: ArchiveMember) -> str:
    """Return a member's ETag, made from its archive's."""
    place = member.place
    if place is None:
        return f"{version}!{UNREADABLE}{member.reason or Reason.MEMBER_DAMAGED}.{member.number:x}"
    return f"{version}!{place.kind}{place.offset:x}.{place.packed:x}.{place.size:x}.{place.crc:x}"


def read_etag(etag: str) -> tuple[str, MemberPlace]:
    """Return an archive's ETag and a member's place in it; if the member can't be read, raise its reason again."""
    version, _, said = etag.rpartition("!")
    if refused := _REFUSED.fullmatch(said):
        reason = Reason.of_code(refused[1]) or Reason.UNREADABLE
        raise ObjectError(reason, f"{reason.description} Replaying doesn't change what is in the archive")
    found = _PLACE.fullmatch(said)
    if found is None or not version:
        raise ObjectError(Reason.UNLISTABLE, f"its ETag is no archive member's: {etag}")
    place = MemberPlace(found[1], *(int(number, 16) for number in found.groups()[1:]))
    if not place.is_possible:
        raise ObjectError(Reason.MEMBER_DAMAGED, f"{place.packed} packed bytes can't be {place.size} bytes")
    return version, place


def archive_of(key: bytes) -> bytes | None:
    """Return the archive's key in a member's key."""
    found = _MEMBER.search(key)
    return key[: found.end() - 2] if found else None


def plain(name: bytes) -> bytes:
    """Return a name without the `./` at its start, which many tars have."""
    while name.startswith(b"./"):
        name = name[2:].lstrip(b"/")
    return name


def is_litter(name: bytes) -> bool:
    """Return whether a file is one that operating systems create next to pictures."""
    return _LITTER.search(name) is not None


def refuse_name(name: bytes) -> str:
    """Return why a member's name can't be stored; empty if it can."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return "its name isn't UTF-8"
    if not text or "\0" in text:
        return "it has no name, or one with a zero byte"
    if _ROOT.match(text):
        return "its name is an absolute path"
    return "its name contains '..'" if _UP.search(text) else ""


def refuse_nested(name: bytes) -> str:
    """Return a message if a member is an archive itself."""
    return "it is an archive in an archive" if _NESTED.search(name) else ""


class SeenNames:
    """The names of one archive's members, as hashes of at most 16 bytes, in a table that doubles when it is full."""

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 1024))
        self._count = 0

    def add(self, name: bytes) -> bool:
        """Add a name; return whether it is new."""
        if not self._put(hash(name) & 0xFFFFFFFFFFFFFFFF or 1):
            return False
        self._count += 1
        if 2 * self._count > len(self._slots):
            before, self._slots = self._slots, array("Q", bytes(16 * len(self._slots)))
            for each in before:
                if each:
                    self._put(each)
        return True

    def _put(self, hashed: int) -> bool:
        slots, mask = self._slots, len(self._slots) - 1
        at = hashed & mask
        while slots[at]:
            if slots[at] == hashed:
                return False
            at = (at + 1) & mask
        slots[at] = hashed
        return True
