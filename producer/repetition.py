"""The other kind of listing: the objects of an earlier job, out of the ledger, page by page.

What the model has answered already is copied, if the key still holds the same bytes: the storage is asked for that.
Everything else becomes pending and is read, so a key that is gone or holds other bytes is found out then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from producer.listing_turns import ListingTurns
from producer.shard import ShardLock
from producer.sources import JobSources
from sluice.domain import ListedObject
from sluice.errors import ObjectError
from sluice.ledger import Job, again, again_listing
from sluice.ledger.again import Repetition
from sluice.objects import Archives, Source
from sluice.objects.archives.members import archive_of
from sluice.telemetry import get_logger, metrics

log = get_logger()

ASKED_AT_ONCE: Final = 32


class RepetitionLister:
    """Lists an earlier job's objects for jobs that repeat it."""

    def __init__(self, lock: ShardLock, sources: JobSources, turns: ListingTurns, more: Callable[[int], None]) -> None:
        self._lock = lock
        self._sources = sources
        self._turns = turns
        self._more = more

    async def list(self, job: Job, wish: Repetition, place: bytes) -> None:
        """List from a place to the end, a page in each turn, or until the ledger is found at another place."""
        last = False
        while not last:
            async with self._turns.turn(job.id):
                page = await self._lock.run(again.read_page, wish, job.model_id or 0, place)
                answered = [listed for listed in page.objects if listed.key in page.answers]
                unchanged = await unchanged_keys(self._sources.get(job.source), answered) if answered else set()
                self._sources.fine(job.id)
                added, copied = await self._lock.run(
                    again_listing.add_page, job.id, job.model_id or 0, page, unchanged, place
                )
                if added.set_back:
                    return
            metrics.LISTED.inc(added.new)
            if added.new > copied:
                self._more(job.id)
            place, last = page.place, page.last
        log.info("listing complete", job=job.id, again_of=wish.of)


async def unchanged_keys(source: Source, objects: Iterable[ListedObject]) -> set[bytes]:
    """Return the keys that still hold the bytes of their ETag; for members of an archive that is asked once."""
    wanted: dict[tuple[bytes, str], list[bytes]] = {}
    for listed in objects:
        archive = archive_of(listed.key) if isinstance(source, Archives) else None
        whole = (listed.key, listed.etag) if archive is None else (archive, listed.etag.rpartition("!")[0])
        wanted.setdefault(whole, []).append(listed.key)
    room = asyncio.Semaphore(ASKED_AT_ONCE)

    async def holds(key: bytes, etag: str) -> bool:
        async with room:
            try:
                return (await source.head(key)).etag == etag
            except ObjectError:
                return False

    held = await asyncio.gather(*(holds(*whole) for whole in wanted))
    return {key for keys, is_held in zip(wanted.values(), held, strict=True) if is_held for key in keys}
