"""Which pages are read, and how many objects wait in total."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from producer import pages
from producer.backlog import Backlog
from producer.leased import StreamedObject
from producer.pages import PageReader
from sluice.ledger import PendingObject, objects
from sluice.settings import read_settings

MOST = pages.MOST_WAITING + pages.MOST_WAITING // 2


class Rows:
    """A ledger in which each job has some pending rows, or endless ones; ids are unique over all jobs."""

    def __init__(self, **of_jobs: int) -> None:
        self.left = {int(job.removeprefix("job")): count for job, count in of_jobs.items()}
        self.read: list[int] = []
        self._ids = itertools.count(1)

    async def run(self, work: object, job: int, _after: int, limit: int, **_: int) -> list[PendingObject]:
        assert work is objects.pending
        self.read.append(job)
        count = min(limit, self.left.get(job, limit))
        if job in self.left:
            self.left[job] -= count
        return [PendingObject(next(self._ids), b"k", "e", 1, 0) for _ in range(count)]


class Reading:
    """A page reader on such a ledger."""

    def __init__(self, priorities: dict[int, int], rows: Rows | None = None, **of_jobs: int) -> None:
        self.rows, self.backlog = rows or Rows(**of_jobs), Backlog()
        self.pages = PageReader(read_settings(), cast("Any", self.rows), self.backlog, wake=lambda: None)
        self.set_jobs(priorities)

    def set_jobs(self, priorities: dict[int, int]) -> None:
        self.backlog.set_jobs(priorities)
        self.pages.set_jobs(
            [
                cast("Any", SimpleNamespace(id=job, priority=priority, model_id=1, source="s3://b/"))
                for job, priority in priorities.items()
            ]
        )

    async def fill(self) -> None:
        """Read as long as some job wants a page."""
        while await self.pages.read():
            assert len(self.backlog) <= MOST

    def take(self, count: int) -> list[StreamedObject]:
        """Take objects as consumers ask for them, and let them finish."""
        taken = [found for _ in range(count) if (found := self.backlog.take(0.0, suspects=False)) is not None]
        for found in taken:
            self.backlog.finish(found)
        return taken


def test_two_hundred_equal_jobs_share_what_one_may_hold_and_all_get_their_turn() -> None:
    reading = Reading(dict.fromkeys(range(200), 0))
    served: Counter[int] = Counter()

    async def stream() -> None:
        for _ in range(25):
            await reading.fill()
            served.update(found.job for found in reading.take(1000))

    asyncio.run(stream())
    assert set(served) == set(range(200))
    assert max(served.values()) - min(served.values()) <= 2, "each in its turn"


def test_one_job_reads_long_pages_and_never_runs_dry() -> None:
    reading = Reading({1: 0})

    async def stream() -> None:
        for _ in range(20):
            await reading.fill()
            assert len(reading.take(pages.LOW_WATER)) == pages.LOW_WATER

    asyncio.run(stream())
    assert len(reading.rows.read) <= 20


def test_less_urgent_jobs_are_read_when_the_urgent_ones_leave_something_over() -> None:
    reading = Reading({1: 9, 2: 5, 3: 0}, job1=100, job2=10_000)

    async def stream() -> None:
        await reading.fill()
        assert reading.rows.read == [1, 2], "after the page of job 1 was short; job 3 is not next"
        assert [found.job for found in reading.take(200)] == [1] * 100 + [2] * 100

    asyncio.run(stream())


def test_jobs_that_grow_more_and_more_urgent_do_not_pile_up() -> None:
    """Waiting objects of less urgent jobs are dropped, and read again when they are next."""
    reading = Reading({1: 1})

    async def stream() -> None:
        for job in range(1, 100):
            reading.set_jobs({number: number for number in range(1, job + 1)})
            await reading.fill()
        assert len(reading.backlog) <= MOST
        reading.set_jobs({1: 1})
        await reading.fill()
        assert {found.job for found in reading.take(100)} == {1}

    asyncio.run(stream())


def test_a_job_whose_source_is_away_neither_reads_nor_stands_in_the_way() -> None:
    reading = Reading({1: 9, 2: 0})

    async def stream() -> None:
        await reading.fill()
        reading.backlog.hold(1, until=float("inf"))
        await reading.fill()
        assert reading.rows.read == [1, 2]
        assert {found.job for found in reading.take(100)} == {2}

    asyncio.run(stream())


def test_what_waits_for_something_else_than_a_fetch_leaves_room_for_what_can_be_fetched() -> None:
    """Objects that wait for a retry, and suspects, don't stop fetching; nor do they grow without bound."""
    reading = Reading({1: 0})

    async def stream() -> None:
        for _ in range(20):
            await reading.fill()
            taken = [found for _ in range(1000) if (found := reading.backlog.take(0.0, suspects=False)) is not None]
            for found in taken:
                reading.backlog.requeue(found, 0.0, delay=30.0)
        assert len(reading.backlog) <= 3 * pages.PAGE

    asyncio.run(stream())


class GrowingRows(Rows):
    """Rows that become one more during the first read; `more` is called with their job."""

    more: Callable[[int], None]

    async def run(self, work: object, job: int, _after: int, limit: int, **_: int) -> list[PendingObject]:
        found = await super().run(work, job, _after, limit)
        if len(self.read) == 1:
            self.left[job] += 1
            self.more(job)
        return found


def test_rows_that_are_added_while_a_page_is_read_are_read_at_once() -> None:
    rows = GrowingRows(job1=1)
    reading = Reading({1: 0}, rows)
    rows.more = reading.pages.more

    async def stream() -> None:
        await reading.fill()
        assert len(reading.take(10)) == 2

    asyncio.run(stream())
