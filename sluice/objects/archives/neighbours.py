"""Reads of members that stand side by side: those that are asked for at the same moment become one request.

A request to the storage costs more than its bytes while members are small. A read that fails is done again member by
member, so that each has its own error, and a bad one harms no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sluice.errors import SourceError
from sluice.objects.source import RangedSource

TOGETHER: Final = 8
"""Members of one request: of what a process reads at once, there are some requests left beside it."""
TOGETHER_BYTES: Final = 512 * 1024
GAP: Final = 4 * 1024
"""Bytes between two members that are read and dropped: headers, and what WebDataset stores beside a picture."""


@dataclass(slots=True, eq=False)
class AskedRange:
    """A part of an archive that somebody waits for."""

    key: bytes
    etag: str
    first: int
    length: int
    data: asyncio.Future[bytes | None]
    """The bytes, as soon as another read them too; None: read them."""
    others: list[AskedRange] = field(default_factory=list)
    """Those whose bytes whoever reads this one reads as well."""

    @property
    def end(self) -> int:
        """Return the place behind it."""
        return self.first + self.length


class NeighbourReader:
    """Reads parts of archives; has no task of its own, so that a read ends with whoever waits for it."""

    def __init__(self, source: RangedSource) -> None:
        self._source = source
        self._asked: list[AskedRange] = []

    async def read(self, key: bytes, etag: str, first: int, length: int) -> bytes:
        """Return so many bytes from `first` on; fewer only at the archive's end."""
        if length > TOGETHER_BYTES:
            return await self._source.read_range(key, etag, first, length)
        loop = asyncio.get_running_loop()
        asked = AskedRange(key, etag, first, length, loop.create_future())
        if not self._asked:
            loop.call_soon(self._share_out)
        self._asked.append(asked)
        try:
            data = await asked.data
            if data is None and asked.others:
                data = await self._read_together([asked, *asked.others])
        finally:
            self._withdraw(asked)
        return await self._source.read_range(key, etag, first, length) if data is None else data

    def _share_out(self) -> None:
        """Let one of each group of neighbours read for all of them."""
        asked, self._asked = self._asked, []
        for group in groups_of(asked):
            group[0].others.extend(group[1:])
            group[0].data.set_result(None)

    async def _read_together(self, group: Sequence[AskedRange]) -> bytes | None:
        """Read for all and return what the first asked for; None if that fails."""
        begin, end = group[0].first, max(asked.end for asked in group)
        try:
            found = await self._source.read_range(group[0].key, group[0].etag, begin, end - begin)
        except SourceError:
            return None
        for asked in group[1:]:
            if not asked.data.done():
                asked.data.set_result(found[asked.first - begin : asked.end - begin])
        return found[: group[0].length]

    def _withdraw(self, asked: AskedRange) -> None:
        """Let those read for themselves who wait for one that failed, or was cancelled."""
        if asked in self._asked:
            self._asked.remove(asked)
        for other in asked.others:
            if not other.data.done():
                other.data.set_result(None)


def groups_of(asked: Sequence[AskedRange]) -> list[list[AskedRange]]:
    """Return the groups that are read at once, in the order of the places; nobody who is gone is in one."""
    groups: list[list[AskedRange]] = []
    for each in sorted(asked, key=lambda each: (each.key, each.etag, each.first)):
        if each.data.done():
            continue
        last = groups[-1] if groups else []
        if last and _is_near(last, each):
            last.append(each)
        else:
            groups.append([each])
    return groups


def _is_near(group: Sequence[AskedRange], each: AskedRange) -> bool:
    head = group[0]
    end = max(asked.end for asked in group)
    return (
        (head.key, head.etag) == (each.key, each.etag)
        and len(group) < TOGETHER
        and each.first <= end + GAP
        and max(end, each.end) - head.first <= TOGETHER_BYTES
    )
