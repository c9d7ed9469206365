"""Updates watch jobs between listings: S3 notifies through SQS which objects are new or changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from producer.shard import ShardLock
from producer.sources import JobSources
from sluice import ledger
from sluice.backoff import Backoff
from sluice.domain import INSIDE, ListedObject, Reason, is_inside
from sluice.errors import ConfigurationError, ObjectError, SourceError
from sluice.ledger import Job
from sluice.objects import Archives
from sluice.objects.notifications import NotificationQueue, ObjectWritten
from sluice.settings import Settings
from sluice.telemetry import get_logger, metrics

log = get_logger()

FIRST_RETRY = 1.0
LONGEST_RETRY = 60.0


class NotificationWriter:
    """Writes notified objects to the watch jobs that they belong to."""

    def __init__(
        self, settings: Settings, queue: str, lock: ShardLock, sources: JobSources, more: Callable[[int], None]
    ) -> None:
        self._queue = NotificationQueue(queue, settings)
        self._sources = sources
        self._lock = lock
        self._more = more

    async def run(self) -> None:
        """Follow the queue forever; listing continues and finds objects that notifications missed."""
        waits = Backoff(FIRST_RETRY, LONGEST_RETRY)
        deleting = asyncio.create_task(asyncio.to_thread(self._queue.delete, ()))
        while True:
            try:
                batch = await asyncio.to_thread(self._queue.receive)
                if batch.events:
                    await self._write(batch.events)
                # The next messages don't wait until these are deleted.
                before, deleting = deleting, asyncio.create_task(asyncio.to_thread(self._queue.delete, batch.receipts))
                await before
                waits.reset()
            except SourceError as error:
                wait = waits.next()
                log.warning("notifications can't be received", error=str(error), again_in=round(wait, 1))
                await asyncio.sleep(wait)

    async def _write(self, events: Sequence[ObjectWritten]) -> None:
        jobs = [job for job in await self._lock.run(ledger.jobs.active) if job.watch]
        for job in jobs:
            # Of several events of one key the newest counts.
            said = {event.key: event for event in events if _belongs(event, job)}
            entries = {entry.key: entry for entry in await self._complete(job, list(said.values()))}
            if not entries:
                continue
            page = [entries[key] for key in sorted(entries)]
            source = self._sources.get(job.source)
            if isinstance(source, Archives):
                await self._write_members(job, source, page)
            else:
                await self._write_page(job, page)

    async def _write_members(self, job: Job, source: Archives, archives: Sequence[ListedObject]) -> None:
        """Write the members of archives; archives that can't be read now are left to the next listing."""
        for archive in archives:
            pages = source.list_archive(archive)
            try:
                while page := await asyncio.to_thread(next, pages, None):
                    await self._write_page(job, page)
            except SourceError as error:
                log.warning("left to the next listing", job=job.id, key=repr(archive.key), why=str(error))

    async def _write_page(self, job: Job, page: Sequence[ListedObject]) -> None:
        added = await self._lock.run(ledger.listing.upsert_keys, job.id, page)
        metrics.LISTED.inc(added.new)
        metrics.SUPERSEDED.inc(added.superseded)
        if added.reopened:
            log.info("a done job runs again", job=job.id, why="an event reported a new or changed object")
        self._more(job.id)

    async def _complete(self, job: Job, events: Sequence[ObjectWritten]) -> list[ListedObject]:
        """Return the entries to write: from the events, or from the objects themselves if an event lacks something."""
        entries: list[ListedObject] = []
        answers = True
        for event in events:
            if not event.incomplete:
                entries.append(event.listed)
                continue
            try:
                if answers:
                    entries.append(await self._sources.get(job.source).head(event.key))
            except ObjectError as error:
                if error.reason == Reason.UNLISTABLE:
                    entries.append(event.listed)
                else:
                    log.info("notification of an object that can't be read", job=job.id, why=str(error))
            except (SourceError, ConfigurationError) as error:
                answers = False
                log.warning("left to the next listing", job=job.id, key=repr(event.key), why=str(error))
        return entries


def _belongs(event: ObjectWritten, job: Job) -> bool:
    bucket, _, prefix = job.source.removeprefix("s3://").removesuffix(INSIDE).partition("/")
    if not job.source.startswith("s3://") or event.bucket != bucket:
        return False
    key = prefix.encode()
    if not is_inside(job.source):
        return event.key.startswith(key)
    return (
        event.key == key if Archives.is_archive(key) else event.key.startswith(key) and Archives.is_archive(event.key)
    )
