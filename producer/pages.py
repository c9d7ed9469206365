"""Pages of pending rows, read from the ledger to the backlog for the jobs that are served next.

The backlog is bounded over all jobs, so equally urgent jobs share it: the more jobs, the shorter their pages. Less
urgent jobs are read if the others leave consumers without work, and dropped when space is needed: the ledger still
has them.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Final

from producer.backlog import Backlog
from producer.leased import StreamedObject
from sluice import ledger
from sluice.ledger import AsyncLedger, Job
from sluice.settings import Settings

PAGE: Final = 1000
SHORTEST_PAGE: Final = 8
LOW_WATER: Final = 500
"""So many fetchable objects last longer than reading a page takes."""
MOST_WAITING: Final = 8 * PAGE
# A short page means that nothing else is pending for now. The job is read again after a while, longer each time that
# nothing new is there: rows come from other shards' listings, from replays and from redelivery.
FIRST_REST: Final = 0.25
LONGEST_REST: Final = 4.0
LONGEST_WATCHED_REST: Final = 0.5
"""Of a watch job whose prefix another shard may list: somebody may wait for each of its pictures."""


class PageReader:
    """Reads pages; `wake` is called when a job may be read again after a rest."""

    def __init__(self, settings: Settings, ledger: AsyncLedger, backlog: Backlog, wake: Callable[[], None]) -> None:
        self._settings = settings
        self._ledger = ledger
        self._backlog = backlog
        self._wake = wake
        self._jobs: list[Job] = []
        self._after: dict[int, int] = {}
        self._rest: dict[int, tuple[float, float]] = {}
        self._reading = 0
        self._is_outdated = False
        self._starved: set[int] = set()
        self._turns: dict[int, int] = {}
        self._turn = itertools.count(1)

    def set_jobs(self, jobs: list[Job]) -> None:
        """Set the running jobs."""
        self._jobs = sorted(jobs, key=lambda job: (-job.priority, job.id))

    def more(self, job: int) -> None:
        """Record that a job has new pending rows."""
        self._rest.pop(job, None)
        self._is_outdated |= job == self._reading
        if not self._backlog.fetchable(job):
            self._starved.add(job)

    def forget(self, job: int) -> None:
        """Record that a job's rows aren't in the backlog any more."""
        self._starved.discard(job)
        for known in (self._after, self._rest, self._turns):
            known.pop(job, None)

    @property
    def has_starved(self) -> bool:
        """Return whether a job has new rows and nothing to fetch: others' objects must not take all the credit."""
        return bool(self._starved)

    async def read(self) -> bool:
        """Read a page of the job that needs one most; False if none does now."""
        found = self._next(time.monotonic())
        if found is None:
            self._starved.clear()
            return False
        job, limit = found
        self._make_room(job)
        self._turns[job.id] = next(self._turn)
        after = self._after.get(job.id, 0)
        self._starved.discard(job.id)
        self._reading, self._is_outdated = job.id, False
        self._backlog.begin_read()
        rows = await self._ledger.run(
            ledger.objects.pending, job.id, after, limit, shard=self._settings.shard, shards=self._settings.shards
        )
        added = self._backlog.add(
            StreamedObject(r.id, job.id, job.model_id or 0, job.source, r.key, r.etag, r.size, r.deaths) for r in rows
        )
        self._after[job.id] = rows[-1].id if len(rows) == limit else 0
        self._reading = 0
        # Rows that were added during the read may not be in the page.
        if len(rows) < limit and not self._is_outdated:
            last = self._rest.get(job.id, (0.0, FIRST_REST / 2))[1]
            rest = FIRST_REST if added else min(last * 2, self._longest_rest(job))
            self._rest[job.id] = (time.monotonic() + rest, rest)
            asyncio.get_running_loop().call_later(rest, self._wake)
        return True

    def _next(self, now: float) -> tuple[Job, int] | None:
        """Return the job whose page is read next, and the page's length; None if none needs one."""
        for _, equals in itertools.groupby(self._jobs, key=lambda job: job.priority):
            open_jobs = [job for job in equals if not self._backlog.is_held(job.id, now)]
            unread = {job.id for job in open_jobs if now >= self._rest.get(job.id, (0.0, 0.0))[0]}
            sharing = [job for job in open_jobs if job.id in unread or self._backlog.waiting(job.id)]
            share = min(PAGE, max(SHORTEST_PAGE, MOST_WAITING // max(1, len(sharing))))
            hungry = [job for job in sharing if job.id in unread and self._is_hungry(job.id, share)]
            if hungry:
                return min(hungry, key=lambda job: self._turns.get(job.id, 0)), share
            if sum(self._backlog.fetchable(job.id) for job in sharing) >= LOW_WATER:
                return None
        return None

    def _longest_rest(self, job: Job) -> float:
        return LONGEST_WATCHED_REST if self._settings.shards > 1 and job.watch else LONGEST_REST

    def _is_hungry(self, job: int, share: int) -> bool:
        """Return whether a job has few fetchable objects, and not too many that wait for something else."""
        return self._backlog.fetchable(job) < share // 2 and self._backlog.waiting(job) < 2 * share

    def _make_room(self, reader: Job) -> None:
        """Drop waiting objects of jobs that are less urgent, or on hold, while there are too many in total."""
        now = time.monotonic()
        for job in reversed(self._jobs):
            if self._backlog.all_waiting() < MOST_WAITING:
                return
            if job.priority < reader.priority or self._backlog.is_held(job.id, now):
                self._backlog.forget(job.id)
                self.forget(job.id)
