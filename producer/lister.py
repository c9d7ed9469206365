"""Listing: writes pages of a source to the ledger, from the cursor on.

A page and its cursor are one transaction, on the connection that holds this shard's lock: the successor of a killed
producer resumes at that page, and a producer that lost its lock can't write. A turn is one page, from reading to
writing, so that no listing, however long, delays a more urgent one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack

from producer.glances import PrefixGlances
from producer.known_archives import KnownArchives
from producer.listing_turns import ListingTurns
from producer.repetition import RepetitionLister
from producer.shard import ShardLock
from producer.sources import JobSources
from sluice import ledger
from sluice.backoff import Backoff
from sluice.domain import ListedObject
from sluice.errors import ConfigurationError, SourceError, SourceMissing
from sluice.ledger import Job
from sluice.objects import Archives
from sluice.telemetry import get_logger, metrics

log = get_logger()

AT_ONCE = 4
FIRST_RETRY = 1.0
LONGEST_RETRY = 30.0


class JobLister:
    """Lists jobs, a few pages at once, the most urgent job first."""

    def __init__(self, lock: ShardLock, sources: JobSources, more: Callable[[int], None]) -> None:
        self._lock = lock
        self._sources = sources
        self._more = more
        self._turns = ListingTurns(AT_ONCE)
        self._known: dict[int, KnownArchives] = {}
        self._known_since = 0
        self._glances = PrefixGlances(lock, sources, self._turns, more)
        self._repetitions = RepetitionLister(lock, sources, self._turns, more)

    def set_priorities(self, priorities: Mapping[int, int]) -> None:
        """Set each job's current priority."""
        self._turns.set_priorities(priorities)
        self._known = {job: known for job, known in self._known.items() if job in priorities}
        self._glances.keep(priorities)

    async def follow(self, job: Job) -> bool:
        """List a job to its end; a watch job repeatedly. False: the job failed, and may be retried."""
        if job.repeats < 1:  # plain SQL may set it
            await self._fail(job, f"a job can't be repeated {job.repeats} times: submit it with 1 or more")
            return False
        waits = Backoff(FIRST_RETRY, LONGEST_RETRY)
        while True:
            try:
                state = await self._lock.run(ledger.listing.state, job.id)
                if state.repeat_no >= job.repeats:  # no pass is in progress
                    if not job.watch:
                        return True
                    await self._glances.wait_for_pass(job, state.age_seconds)
                    await self._lock.run(ledger.listing.restart, job.id)
                await self._list_all(job)
            # An error of the job itself fails it. An error of this process (its region, credentials, endpoint) is a
            # SourceError: the job says so and waits.
            except (SourceMissing, ConfigurationError) as error:
                if isinstance(error, SourceMissing) and await self._has_begun(job):
                    await self._wait(job, error, waits)
                    continue
                await self._fail(job, str(error))
                return False
            except SourceError as error:
                await self._wait(job, error, waits)
            else:
                waits.reset()

    async def _list_all(self, job: Job) -> None:
        """List from the cursor to the end of the last repeat."""
        state = await self._lock.run(ledger.listing.state, job.id)
        repetition = await self._lock.run(ledger.again.of_job, job.id)
        while state.repeat_no < job.repeats:
            if repetition is not None:
                await self._repetitions.list(job, repetition, state.cursor)
                return
            await self._list_once(job, state.cursor, state.repeat_no)
            state = await self._lock.run(ledger.listing.state, job.id)

    async def _list_once(self, job: Job, after: bytes, repeat_no: int) -> None:
        """List to the end of a repeat, or until the ledger is found at another place than this listing."""
        pages = self._pages(job, after)
        self._glances.begin_pass(job)
        following = asyncio.create_task(self._read(job, pages))
        try:
            while True:
                began = time.perf_counter()
                page, turn = await following
                async with turn:
                    self._sources.fine(job.id)
                    if page is None:
                        if not await self._write(job, [], repeat_no, after, last=True):
                            return
                        if job.id in self._known:
                            self._known[job.id].end_pass()
                        self._glances.end_pass(job.id)
                        log.info("listing complete", job=job.id, repeat=repeat_no)
                        return
                    # The next page is read while this one is written, in its own turn.
                    following = asyncio.create_task(self._read(job, pages))
                    if page:
                        if not await self._write(job, page, repeat_no, after, last=False):
                            return
                        after = ledger.listing.place_behind(page) or after
                        metrics.STAGE_SECONDS.labels(stage="list").observe((time.perf_counter() - began) / len(page))
        finally:
            await _give_up(following)

    def _pages(self, job: Job, after: bytes) -> Iterator[list[ListedObject]]:
        """Begin a listing; a pass of a watch job skips archives that an earlier pass listed completely."""
        source = self._sources.get(job.source)
        if not isinstance(source, Archives) or not job.watch or job.repeats > 1:
            return source.list(after)
        if self._known_since != self._lock.taken:
            # The connection was lost, and the database that is there now may know less.
            self._known_since = self._lock.taken
            self._known.clear()
        return source.list_new(after, self._known.setdefault(job.id, KnownArchives()).passes_over)

    async def _read(
        self, job: Job, pages: Iterator[list[ListedObject]]
    ) -> tuple[list[ListedObject] | None, AsyncExitStack]:
        """Read the next page when it is this job's turn; return it (None after the last) with the turn."""
        async with AsyncExitStack() as turn:
            await turn.enter_async_context(self._turns.turn(job.id))
            page = await asyncio.to_thread(next, pages, None)
            return page, turn.pop_all()

    async def _write(self, job: Job, page: list[ListedObject], repeat_no: int, after: bytes, *, last: bool) -> bool:
        """Write a page; return whether the ledger was at the place from which it was read."""
        added = await self._lock.run(
            ledger.listing.add_page, job.id, page, repeat_no=repeat_no, last=last, repeats=job.repeats, after=after
        )
        if added.set_back:
            log.warning("the database was set back: listing goes on where it stands", job=job.id)
            return False
        if job.id in self._known:
            self._known[job.id].note(page)
        self._glances.note(job.id, page)
        metrics.LISTED.inc(added.new)
        metrics.SUPERSEDED.inc(added.superseded)
        if added.new or added.replayed:
            self._more(job.id)
        return True

    async def _has_begun(self, job: Job) -> bool:
        state = await self._lock.run(ledger.listing.state, job.id)
        return bool(state.cursor or state.repeat_no or state.passes)

    async def _fail(self, job: Job, why: str) -> None:
        log.error("job failed", job=job.id, error=why)
        await self._lock.run(ledger.jobs.fail, job.id, why)

    async def _wait(self, job: Job, error: SourceError, waits: Backoff) -> None:
        """Set the job's message, and wait."""
        wait = waits.next()
        log.warning("listing failed", job=job.id, error=str(error), again_in=round(wait, 1))
        self._sources.say(job.id, str(error))
        self._sources.trouble(job.id, str(error))
        await asyncio.sleep(wait)


async def _give_up(reading: asyncio.Task[tuple[list[ListedObject] | None, AsyncExitStack]]) -> None:
    """Cancel reading ahead; a page that was already read frees its turn."""
    if not reading.cancel() and not reading.cancelled() and reading.exception() is None:
        await reading.result()[1].aclose()
