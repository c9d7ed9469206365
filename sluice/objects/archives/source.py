"""The members of archives as a source: archives are listed one after the other, by their directories."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, islice
from typing import Final

from sluice.domain import INSIDE, ListedObject, Reason
from sluice.errors import ObjectError, ReadRefused, SourceMissing
from sluice.objects.archives import members, tars, zips
from sluice.objects.archives.cursor import ListingPlace
from sluice.objects.archives.members import ArchiveMember, MemberPlace, ReadRange, SeenNames
from sluice.objects.archives.neighbours import NeighbourReader
from sluice.objects.archives.pieces import PatientReader
from sluice.objects.closing import ClosedAfterReads
from sluice.objects.entries import KEY_MAX_BYTES, make_entry
from sluice.objects.source import ObjectChanged, RangedSource
from sluice.settings import Settings

Pages = Iterator[list[ListedObject]]

PAGE: Final = 1000
BEHIND: Final = INSIDE.encode()
READERS: Final = {b".zip": zips.read_zip, b".tar": tars.read_tar}
LOCAL_EXTRA: Final = 128
"""Most member headers in a zip need at most so many bytes besides the name; for others another range is read."""
CHANGES_MAX: Final = 5
REFUSALS_MAX: Final = 5
WITNESSES: Final = 5
WITNESS_BYTES: Final = 1024 * 1024
"""As much as is read of a directory at once."""
INLINE_UNPACKED: Final = 256 * 1024
"""Fewer bytes are unpacked faster than a thread can be started for it."""
INDEX_MAX: Final = 100_000
"""Number of a replaced archive's members to remember, so that not each of them has to read the directory."""


class Archives:
    """Reads archives in another source: a single one, or all below its prefix."""

    def __init__(
        self, outer: RangedSource, only: bytes | None, settings: Settings, *, most_indexed: int = INDEX_MAX
    ) -> None:
        self._outer = outer
        self._neighbours = NeighbourReader(outer)
        self._only = only
        self._settings = settings
        self._most_indexed = most_indexed
        self._refusals: dict[bytes, tuple[int, int]] = {}
        self._indexing = asyncio.Lock()
        self._index: tuple[ListedObject, dict[bytes, ListedObject]] | None = None
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="archives")
        self._reads = ClosedAfterReads(outer.url(b""), self._let_go)

    def list(self, after: bytes) -> Pages:
        """Page through the members of each archive, and the archive itself after them."""
        return self.list_new(after, lambda _: False)

    def list_new(self, after: bytes, is_known: Callable[[ListedObject], bool]) -> Pages:
        """Do the same, but skip archives that are known."""
        place = ListingPlace.read(after)
        page: list[ListedObject] = []
        for archive in self._archives(place):
            begin = place.within(archive)
            if not begin and is_known(archive):
                continue
            for entry in self._entries(archive, begin):
                page.append(entry)
                if len(page) == PAGE:
                    yield page
                    page = []
        if page:
            yield page

    def list_archive(self, archive: ListedObject) -> Pages:
        """Return pages of one archive's members, and the archive itself at their end."""
        entries = self._entries(archive, 0)
        while page := list(islice(entries, PAGE)):
            yield page

    @staticmethod
    def is_archive(key: bytes) -> bool:
        """Return whether a key is an archive's."""
        return key[-4:].lower() in READERS

    async def read(self, key: bytes, etag: str, limit: int) -> bytes:
        """Read a member's bytes, with its archive's ETag as the condition."""
        with self._reads.used():
            return await self._read_member(key, etag, limit)

    async def _read_member(self, key: bytes, etag: str, limit: int) -> bytes:
        version, place = members.read_etag(etag)
        archive = members.archive_of(key)
        if archive is None:
            raise ObjectError(Reason.UNLISTABLE, f"{self.url(key)}: that is no member of an archive")
        if place.grows_beyond(self._settings.archive_ratio):
            raise ObjectError(Reason.MEMBER_RATIO, _ratio(place))
        try:
            if place.size > limit:  # sent anyway, because the caller may want to know whether the storage answers
                await self._outer.read_range(archive, version, place.offset, 1)
                raise ObjectError(Reason.TOO_LARGE, f"{place.size} bytes, more than {limit}")
            return await self._read(key, archive, version, place)
        except ObjectChanged as change:
            raise ObjectChanged(await self._find(key, change.listed)) from change

    async def head(self, key: bytes) -> ListedObject:
        """Return what the member is now, from its archive's directory; or what an archive is."""
        if self.is_archive(key) and members.archive_of(key) is None:
            return await self._outer.head(key)
        archive = members.archive_of(key)
        if archive is None:
            raise ObjectError(Reason.NOT_FOUND, f"{self.url(key)}: that is no member of an archive")
        with self._reads.used():
            return await self._find(key, await self._outer.head(archive))

    def url(self, key: bytes) -> str:
        """Return a member's url for people."""
        return self._outer.url(key)

    def close(self) -> None:
        """Close connections and threads after the reads in progress."""
        self._reads.close()

    def _let_go(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._outer.close()

    def _archives(self, place: ListingPlace) -> Iterator[ListedObject]:
        """Yield the archives that are left to list."""
        if self._only is not None:
            try:
                found = self._outer.head_now(self._only)
            except ObjectError as error:
                if error.reason != Reason.NOT_FOUND:
                    raise
                raise SourceMissing(f"{self.url(self._only)} is not there: correct the job's source") from error
            if not place.is_behind(found):
                yield found
            return
        if place.is_within:
            try:
                yield self._outer.head_now(place.key)
            except ObjectError as error:
                if error.reason != Reason.NOT_FOUND:
                    yield ListedObject(place.key, place.etag, 0, refused=error.detail, reason=Reason(error.reason))
        for page in self._outer.list(place.key):
            yield from (entry for entry in page if self.is_archive(entry.key))

    def _entries(self, archive: ListedObject, begin: int) -> Iterator[ListedObject]:
        """Yield an archive's members from a number on, then the archive: refused if something is wrong with it.

        A deleted archive has no entry.
        """
        for _ in range(CHANGES_MAX):
            reader = PatientReader(self._outer, archive)
            try:
                if why := _unreadable(archive):
                    raise why
                yield from (entry for number, entry in self._members(archive, reader.read) if number >= begin)
                yield _whole(archive)
            except ObjectChanged as change:
                archive, begin = change.listed, 0
                continue
            except ReadRefused as error:
                if self._count(archive, reader.at) < REFUSALS_MAX:
                    raise
                yield _whole(archive, ObjectError(Reason.UNREADABLE, str(error)))
            except ObjectError as error:
                if error.reason != Reason.NOT_FOUND:
                    yield _whole(archive, error)
            self._refusals.pop(archive.key, None)
            return
        restless = ObjectError(Reason.CHANGING, f"it was replaced {CHANGES_MAX} times while its directory was read")
        yield _whole(archive, restless)

    def _count(self, archive: ListedObject, at: int) -> int:
        """Count a refused read, and return how many count against the archive by now.

        Those count that were refused at the same byte each time, while the storage gave something else: what keeps all
        from being read, or breaks off now here and now there, is nobody's fault.
        """
        before, count = self._refusals.get(archive.key, (at, 0))
        if before != at:
            count = 0
        if self._gives_others(archive):
            count += 1
        self._refusals[archive.key] = at, count
        return count

    def _gives_others(self, refused: ListedObject) -> bool:
        """Return whether something else beside an archive can be read, by trying a few objects of the same source."""
        near = islice(self._outer.list(refused.key), 1), islice(self._outer.list(b""), 1)
        others = [entry for page in chain(*near) for entry in page if entry.key != refused.key and not entry.refused]
        for other in random.sample(others, min(WITNESSES, len(others))):
            try:
                self._outer.read_range_now(other.key, other.etag, 0, WITNESS_BYTES)
            except (ReadRefused, ObjectError):
                continue
            return True
        return False

    def _members(self, archive: ListedObject, read: ReadRange) -> Iterator[tuple[int, ListedObject]]:
        """Yield all members with their numbers, as far as an archive's bounds allow."""
        seen, size, packed = SeenNames(), 0, 0
        most, reader = self._settings.archive_members, READERS[archive.key[-4:].lower()]
        for member in reader(read, archive.size, most):
            size += member.size
            packed += member.place.packed if member.place else 0
            if size > self._settings.archive_bytes:
                what = f"its members have more than the {self._settings.archive_bytes:,} bytes of SLUICE_ARCHIVE_BYTES"
                raise ObjectError(Reason.ARCHIVE_TOO_LARGE, _so_far(what, member))
            if packed > archive.size:
                raise ObjectError(Reason.ARCHIVE_DAMAGED, _so_far("members share bytes, as in a zip bomb", member))
            name = member.name
            # Under a name that no other member has, or would hide: each has its own row.
            while not seen.add(name):
                name += b"~%d" % member.number
            entry = self._entry(archive, member, name)
            yield (
                member.number,
                replace(entry, cursor=ListingPlace(archive.key, archive.etag, member.number + 1).text()),
            )

    def _entry(self, archive: ListedObject, member: ArchiveMember, name: bytes) -> ListedObject:
        """Return a member as an object, under a name that is another one if an earlier member has its own."""
        key = archive.key + BEHIND + name
        if name != member.name:
            why = "an earlier member of the archive has the same name, and counts"
            member = replace(member, place=None, reason=Reason.MEMBER_NAME, detail=why)
        elif member.place and member.place.grows_beyond(self._settings.archive_ratio):
            member = replace(member, reason=Reason.MEMBER_RATIO, detail=_ratio(member.place))
        entry = make_entry(key, members.etag_of(archive.etag, member), member.size, is_text=False)
        if entry.refused:
            return replace(entry, reason=Reason.MEMBER_NAME)
        return replace(entry, reason=member.reason, refused=member.detail) if member.reason else entry

    async def _read(self, key: bytes, archive: bytes, version: str, place: MemberPlace) -> bytes:
        if place.kind == members.IN_TAR:
            if not place.size:
                return b""
            data = await self._neighbours.read(archive, version, place.offset, place.size)
            if len(data) != place.size:
                raise ObjectError(Reason.MEMBER_DAMAGED, f"it ends after {len(data)} of {place.size} bytes")
            return data
        most = zips.LOCAL.size + len(key) - len(archive) + LOCAL_EXTRA + place.packed
        found = await self._neighbours.read(archive, version, place.offset, most)
        begin = zips.data_begins(found)
        packed = found[begin : begin + place.packed]
        if len(packed) < place.packed:
            packed = await self._outer.read_range(archive, version, place.offset + begin, place.packed)
        if place.size < INLINE_UNPACKED:
            return zips.unpack(place, packed)
        return await asyncio.get_running_loop().run_in_executor(self._threads, zips.unpack, place, packed)

    async def _find(self, key: bytes, archive: ListedObject) -> ListedObject:
        """Look a member up in its archive as it is now; all members of a replaced archive do this."""
        async with self._indexing:
            if self._index is None or (self._index[0].key, self._index[0].etag) != (archive.key, archive.etag):
                loop = asyncio.get_running_loop()
                self._index = archive, await loop.run_in_executor(self._threads, self._look_up, archive, None)
            found = self._index[1].get(key)
            if found is None and len(self._index[1]) == self._most_indexed:
                loop = asyncio.get_running_loop()
                found = (await loop.run_in_executor(self._threads, self._look_up, archive, key)).get(key)
        if found is None:
            raise ObjectError(Reason.NOT_FOUND, f"{self.url(key)}: its archive has no such member now")
        return found

    def _look_up(self, archive: ListedObject, wanted: bytes | None) -> dict[bytes, ListedObject]:
        """Return an archive's members by key, at most INDEX_MAX; or only the wanted one."""
        found: dict[bytes, ListedObject] = {}
        for entry in self._entries(archive, 0):
            if not entry.archive_etag and wanted in {None, entry.key}:
                found[entry.key] = entry
            if len(found) == (self._most_indexed if wanted is None else 1):
                break
        return found


def _unreadable(archive: ListedObject) -> ObjectError | None:
    """Return why an archive's directory can't be read."""
    if archive.refused:
        return ObjectError(archive.reason, archive.refused)
    if not archive.size:
        return ObjectError(Reason.EMPTY, "the archive has 0 bytes")
    if archive.archived:
        return ObjectError(Reason.ARCHIVED, "the archive is in an archive storage class")
    if len(archive.etag) > members.ARCHIVE_ETAG_MAX or not ListingPlace.can_be(archive):
        return ObjectError(Reason.UNLISTABLE, "the archive's key or ETag is too long for its members to be kept")
    if members.archive_of(archive.key):
        return ObjectError(Reason.UNLISTABLE, "the archive's key looks like a member's: rename it")
    return None


def _whole(archive: ListedObject, error: ObjectError | None = None) -> ListedObject:
    """Return the entry for an archive itself, which comes after its members."""
    cursor = ListingPlace(archive.key).text()
    if len(cursor) > KEY_MAX_BYTES:
        cursor = b""  # it is refused; the next archive moves the cursor
    if error is None:
        return replace(archive, archive_etag=archive.etag, cursor=cursor)
    reason = Reason(error.reason)
    return replace(
        archive,
        etag=members.etag_of(archive.etag[: members.ARCHIVE_ETAG_MAX], ArchiveMember(0, b"", 0, None, reason)),
        archived=False,
        refused=error.detail or reason.description,
        reason=reason,
        archive_etag=archive.etag,
        cursor=cursor,
    )


def _ratio(place: MemberPlace) -> str:
    return f"{place.packed:,} bytes of the archive become {place.size:,}"


def _so_far(what: str, member: ArchiveMember) -> str:
    return f"{what}; only members before number {member.number + 1:,} are listed"
