"""Concurrent listings on a real ledger: an urgent one isn't delayed, whatever else is being listed."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

from producer.ledger import LedgerConnections
from producer.lister import JobLister
from producer.shard import ShardLock
from sluice.domain import ListedObject
from sluice.ledger import Database, Job, LedgerCursor, counters, jobs, listing
from sluice.settings import Settings
from sluice.telemetry.health import Health
from tests.support.ledger_rows import breaches, ids_of, register

LONG_JOBS = 6


class EndlessBucket:
    """A bucket whose listing never ends, or ends after some pages of one key."""

    def __init__(self, pages: int | None = None) -> None:
        self.pages = pages
        self.begun_after: list[bytes] = []

    def list(self, after: bytes) -> Iterator[list[ListedObject]]:
        self.begun_after.append(after)
        for number in itertools.count(int(after or b"0") + 1):
            if self.pages is not None and number > self.pages:
                return
            yield [ListedObject(b"%09d" % number, "e", 1)]


@asynccontextmanager
async def listing_of(settings: Settings, buckets: dict[str, EndlessBucket]) -> AsyncIterator[JobLister]:
    """Return a lister on the ledger, for fake buckets."""
    health = Health()
    connections = LedgerConnections(settings, health)
    lock = ShardLock(0, connections.lock, health)
    sources = SimpleNamespace(get=buckets.__getitem__, fine=lambda _: None)
    try:
        await lock.acquire()
        yield JobLister(lock, cast("Any", sources), more=lambda _: None)
    finally:
        connections.close()


def submit(database: Database, buckets: dict[str, EndlessBucket], *priorities: int) -> list[Job]:
    """Submit a job of each priority, and give it an endless bucket."""

    def work(cursor: LedgerCursor) -> list[Job]:
        model = register(cursor)
        for number, priority in enumerate(priorities):
            jobs.start(cursor, jobs.submit(cursor, f"s3://bucket{number}", priority=priority), model)
        return sorted(jobs.active(cursor), key=lambda job: job.id)

    found = database.run(work)
    buckets.update({job.source: EndlessBucket() for job in found})
    return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - a table tells nobody that it changed
            await asyncio.sleep(0.02)


def cursor_of(database: Database, job: Job) -> bytes:
    return database.run(listing.state, job.id).cursor


def test_an_urgent_job_is_listed_to_its_end_beside_endless_ones(settings: Settings, ledger: Database) -> None:
    """The endless ones, of equal priority, all make progress."""
    buckets: dict[str, EndlessBucket] = {}
    *endless, urgent = submit(ledger, buckets, *[0] * LONG_JOBS, 10)
    buckets[urgent.source] = EndlessBucket(pages=20)

    async def play() -> None:
        async with listing_of(settings, buckets) as lister:
            lister.set_priorities({job.id: job.priority for job in (*endless, urgent)})
            following = [asyncio.create_task(lister.follow(job)) for job in endless]
            try:
                await until(lambda: all(cursor_of(ledger, job) > b"%09d" % 3 for job in endless))
                async with asyncio.timeout(60):
                    await lister.follow(urgent)
            finally:
                for task in following:
                    task.cancel()
                await asyncio.gather(*following, return_exceptions=True)

    asyncio.run(play())
    assert ledger.run(listing.state, urgent.id).complete


def test_a_job_that_stops_gives_up_its_turn_and_resumes_at_its_page(settings: Settings, ledger: Database) -> None:
    """It may be waiting for a page of its bucket, or for its turn."""
    buckets: dict[str, EndlessBucket] = {}
    found = submit(ledger, buckets, *[0] * LONG_JOBS)

    async def play() -> None:
        async with listing_of(settings, buckets) as lister:
            lister.set_priorities({job.id: 0 for job in found})
            for _ in range(3):
                before = {job.id: cursor_of(ledger, job) for job in found}
                following = [asyncio.create_task(lister.follow(job)) for job in found]
                await until(lambda before=before: all(cursor_of(ledger, job) > before[job.id] for job in found))  # type: ignore[misc]
                for task in following:
                    task.cancel()
                await asyncio.gather(*following, return_exceptions=True)
            buckets[found[0].source].pages = 0
            async with asyncio.timeout(60):
                await lister.follow(found[0])

    asyncio.run(play())
    for job in found:
        begun_after = buckets[job.source].begun_after
        assert begun_after == sorted(set(begun_after)), "each time from where it stood"


class HaltingBucket(EndlessBucket):
    """A bucket of six pages; its fifth isn't given before somebody says so."""

    def __init__(self) -> None:
        super().__init__(pages=6)
        self.goes_on = threading.Event()

    def list(self, after: bytes) -> Iterator[list[ListedObject]]:
        for page in super().list(after):
            if page[0].key == b"%09d" % 5:
                self.goes_on.wait(60)
            yield page


def set_back(cursor: LedgerCursor, job: int, key: bytes) -> None:
    """Make a job's rows what they were when it was listed up to a key, as a restore does."""
    cursor.execute("DELETE FROM objects WHERE job_id = %s AND object_key > %s", (job, key))
    cursor.execute(
        "UPDATE listings SET key_cursor = %s, repeat_no = 0, passes = 0, complete = FALSE WHERE job_id = %s", (key, job)
    )
    counters.recount(cursor, job)


def test_a_listing_goes_on_where_the_ledger_stands_if_that_was_set_back(settings: Settings, ledger: Database) -> None:
    """A database that was restored, or lost what it had committed, lacks pages that were written already."""
    buckets: dict[str, EndlessBucket] = {}
    (job,) = submit(ledger, buckets, 0)
    bucket = HaltingBucket()
    buckets[job.source] = bucket

    async def play() -> None:
        async with listing_of(settings, buckets) as lister:
            lister.set_priorities({job.id: 0})
            following = asyncio.create_task(lister.follow(job))
            await until(lambda: cursor_of(ledger, job) == b"%09d" % 4)
            ledger.run(set_back, job.id, b"%09d" % 1)
            bucket.goes_on.set()
            async with asyncio.timeout(60):
                await following

    asyncio.run(play())
    assert list(ids_of(ledger, job.id)) == [b"%09d" % number for number in range(1, 7)]
    assert ledger.run(listing.state, job.id).complete
    assert breaches(ledger) == []
