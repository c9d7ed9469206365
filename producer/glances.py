"""Glances at watched prefixes: lists them often between two passes, and writes only what is new there.

For jobs with watch_seconds = 0. While nothing is new, a glance costs the ledger nothing, and the storage its requests,
which cost money: all jobs of this process share a few a second. A pass still comes each minute, since it also finds
what a glance doesn't: a key that was quarantined as not_found and exists again, or isn't archived any more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

from producer.listing_turns import ListingTurns
from producer.seen_keys import SeenKeys
from producer.shard import ShardLock
from producer.sources import JobSources
from sluice import ledger
from sluice.domain import ListedObject
from sluice.ledger import Job
from sluice.objects import Archives
from sluice.telemetry import metrics

LEAST_WATCH_SECONDS: Final = 1
"""Between two passes of a job that can't be glanced at."""
PASS_SECONDS: Final = 60
REQUESTS_A_SECOND: Final = 4.0
SHARE_OF_TIME: Final = 0.25
"""A storage that lists slowly is kept busy for no larger part of the time."""


class PrefixGlances:
    """Waits for the next pass of watch jobs, and glances at their prefixes meanwhile."""

    def __init__(self, lock: ShardLock, sources: JobSources, turns: ListingTurns, more: Callable[[int], None]) -> None:
        self._lock = lock
        self._sources = sources
        self._turns = turns
        self._more = more
        self._seen: dict[int, SeenKeys] = {}
        self._glancing: set[int] = set()

    def keep(self, jobs: Collection[int]) -> None:
        """Forget the jobs that don't run any more."""
        self._seen = {job: seen for job, seen in self._seen.items() if job in jobs}

    def begin_pass(self, job: Job) -> None:
        """Prepare for a pass from the prefix's beginning."""
        if self._wants(job):
            self._seen.setdefault(job.id, SeenKeys()).begin()

    def note(self, job: int, page: Sequence[ListedObject]) -> None:
        """Remember a page that a pass wrote."""
        if job in self._seen:
            self._seen[job].note(page)

    def end_pass(self, job: int) -> None:
        """Record that a pass came to its end."""
        if job in self._seen:
            self._seen[job].end()

    async def wait_for_pass(self, job: Job, age: float) -> None:
        """Wait until a job's next pass is due; its last one ended `age` seconds ago."""
        seen = self._seen.setdefault(job.id, SeenKeys()) if self._wants(job) else None
        if seen is None:
            await asyncio.sleep(max(0.0, max(job.watch_seconds, LEAST_WATCH_SECONDS) - age))
            return
        due = time.monotonic() + PASS_SECONDS - age
        self._glancing.add(job.id)
        try:
            rest = 0.0
            while (left := due - time.monotonic()) > 0:
                await asyncio.sleep(left if seen.is_too_many else min(left, rest))
                if not seen.is_too_many:
                    rest = await self._glance(job, seen)
        finally:
            self._glancing.discard(job.id)

    async def _glance(self, job: Job, seen: SeenKeys) -> float:
        """List the prefix once, and write what is new; return the seconds until the next glance."""
        began = time.monotonic()
        pages = self._sources.get(job.source).list(b"")
        seen.begin()
        requests = 0
        while not seen.is_too_many:
            async with self._turns.turn(job.id):
                page = await asyncio.to_thread(next, pages, None)
            self._sources.fine(job.id)
            if page is None:
                seen.end()
                break
            requests += 1
            if unseen := seen.unseen(page):
                await self._write(job.id, unseen)
            seen.note(page)
        return rest_after(requests, time.monotonic() - began, len(self._glancing))

    async def _write(self, job: int, entries: Sequence[ListedObject]) -> None:
        added = await self._lock.run(ledger.listing.upsert_keys, job, entries)
        metrics.LISTED.inc(added.new)
        metrics.SUPERSEDED.inc(added.superseded)
        if added.new or added.replayed:
            self._more(job)

    def _wants(self, job: Job) -> bool:
        """Return whether a job is glanced at. Archives would be read each time; repeats need a pass each."""
        is_asked = job.watch and not job.watch_seconds and job.repeats == 1
        return is_asked and not isinstance(self._sources.get(job.source), Archives)


def rest_after(requests: int, seconds: float, jobs: int) -> float:
    """Return how long to wait after a glance of so many requests and seconds, while so many jobs are glanced at."""
    return max(requests * jobs / REQUESTS_A_SECOND - seconds, seconds * (1 / SHARE_OF_TIME - 1))
