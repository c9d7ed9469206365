"""One look a second for all who watch: shared, bounded, and over when nobody watches or the process drains."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from gateway.feed import JobFeed
from gateway.ledgers import LedgerPool
from sluice.errors import Busy
from sluice.ledger.owners import OwnedJob
from sluice.ledger.rows import Job, JobProgress
from sluice.ledger.seen import SeenJob


def seen_job(number: int) -> SeenJob:
    watch = False
    now = datetime(2026, 1, 1, tzinfo=UTC)
    job = Job(number, "s3://photos/", "", None, "running", 0, watch, 60, 1, "", now, None, None)
    progress = JobProgress(number, "s3://photos/", "running", 0, 0, 0, 0, 0, watch, 0.0, None, "")
    return SeenJob(OwnedJob(job, None, "", standing=False), progress)


class CountedLooks:
    """Stands for the ledger: each look finds one job more."""

    def __init__(self) -> None:
        self.count = 0

    async def run(self, work: Callable[..., Any], *args: object) -> list[SeenJob]:
        del work, args
        self.count += 1
        return [seen_job(number) for number in range(self.count)]


@pytest.fixture
def looks() -> CountedLooks:
    return CountedLooks()


async def next_of(watched: AsyncIterator[list[SeenJob] | None]) -> int:
    found = await anext(watched)
    assert found is not None
    return len(found)


async def running(looks: CountedLooks, use: Callable[[JobFeed], Any], most: int = 10) -> None:
    feed = JobFeed(cast("LedgerPool", looks), look_seconds=0.0, most=most)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        task = group.create_task(feed.run())
        try:
            await use(feed)
        finally:
            task.cancel()


def test_nobody_watches_and_nothing_is_asked(looks: CountedLooks) -> None:
    async def use(feed: JobFeed) -> None:
        del feed
        for _ in range(10):
            await asyncio.sleep(0)

    asyncio.run(running(looks, use))
    assert looks.count == 0


def test_who_watches_sees_each_look_once(looks: CountedLooks) -> None:
    async def use(feed: JobFeed) -> None:
        async with aclosing(feed.watch()) as one, aclosing(feed.watch()) as other:
            first, second = await asyncio.gather(next_of(one), next_of(other))
            assert first == second
            assert await next_of(one) > first

    asyncio.run(running(looks, use))


def test_nothing_is_asked_after_the_last_one_went(looks: CountedLooks) -> None:
    async def use(feed: JobFeed) -> None:
        async with aclosing(feed.watch()) as watched:
            await next_of(watched)
        for _ in range(5):
            await asyncio.sleep(0)
        before = looks.count
        for _ in range(10):
            await asyncio.sleep(0)
        assert looks.count == before

    asyncio.run(running(looks, use))


def test_a_drain_ends_all_streams(looks: CountedLooks) -> None:
    async def use(feed: JobFeed) -> None:
        async with aclosing(feed.watch()) as watched:
            await next_of(watched)
            feed.close()
            assert [each async for each in watched if each is None] == []

    asyncio.run(running(looks, use))


def test_more_than_so_many_are_asked_to_come_back(looks: CountedLooks) -> None:
    async def use(feed: JobFeed) -> None:
        feed.check_room()
        async with aclosing(feed.watch()) as watched:
            await next_of(watched)
            with pytest.raises(Busy):
                feed.check_room()
        feed.check_room()

    asyncio.run(running(looks, use, most=1))
