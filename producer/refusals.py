"""Objects whose read the storage refuses repeatedly, while others of the same source can be read.

A refusal counts against an object only if another object of its source, its witness, was read after it. So an outage
never counts, however long it lasts, and a single unreadable key can't keep its job from ending.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from producer.leased import StreamedObject
from producer.sources import JobSources
from sluice.domain import Reason
from sluice.errors import ObjectError, ReadRefused, SourceError

TRIES: Final = 5
# Bytes to read of a witness: it is enough that the storage begins to return it.
PROBE_BYTES: Final = 1024 * 1024
MOST_REMEMBERED: Final = 10_000
LONG_AGO: Final = float("-inf")

Witness = tuple[bytes, str]


@dataclass(slots=True)
class SourceHealth:
    """How well one source answers: when its newest successful read, or refused witness read, began."""

    witness: Witness | None = None
    gave: float = LONG_AGO
    refused: float = LONG_AGO
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class RefusalCounter:
    """Counts each object's refusals that are its own fault."""

    def __init__(self, sources: JobSources, find: Callable[[int], Awaitable[Sequence[Witness]]]) -> None:
        self._sources = sources
        self._find = find
        self._standings: OrderedDict[str, SourceHealth] = OrderedDict()
        self._refusals: OrderedDict[int, int] = OrderedDict()

    def was_read(self, found: StreamedObject, began: float) -> None:
        """Record that an object was read; from now on it is its source's witness."""
        standing = self._standing(found.source)
        standing.witness, standing.gave = (found.key, found.etag), max(standing.gave, began)
        self._refusals.pop(found.id, None)

    async def refused(self, found: StreamedObject) -> int:
        """Count a refusal; return how many count against the object by now, 0 if nothing else can be read either.

        TRIES of them make it `unreadable`.
        """
        if not await self._gives_others(found, time.monotonic()):
            return 0
        count = self._refusals.pop(found.id, 0) + 1
        if count < TRIES:
            self._refusals[found.id] = count
        if len(self._refusals) > MOST_REMEMBERED:
            self._refusals.popitem(last=False)
        return count

    async def _gives_others(self, found: StreamedObject, since: float) -> bool:
        standing = self._standing(found.source)
        async with standing.turn:  # one reads the witness, and the others that waited use its result
            if standing.gave > since:
                return True
            if standing.refused > since:
                return False
            began = time.monotonic()
            standing.witness = await self._read_another(found, standing.witness)
            if standing.witness is None:
                standing.refused = began
                return False
            standing.gave = began
            return True

    async def _read_another(self, found: StreamedObject, witness: Witness | None) -> Witness | None:
        """Read the witness, or other objects of the job that were read before; return the first that can be read."""
        source = self._sources.get(found.source)
        for each in [*([witness] if witness else []), *await self._find(found.job)]:
            if each[0] == found.key:
                continue
            try:
                await source.read(*each, PROBE_BYTES)
            except ObjectError as error:
                if error.reason != Reason.TOO_LARGE:
                    continue  # for example deleted: it proves nothing
            except ReadRefused:
                continue
            except SourceError:
                return None
            return each
        return None

    def _standing(self, source: str) -> SourceHealth:
        standing = self._standings.get(source)
        if standing is None:
            standing = self._standings[source] = SourceHealth()
            if len(self._standings) > MOST_REMEMBERED:
                self._standings.popitem(last=False)
        return standing
