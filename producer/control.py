"""Follows the jobs table, the control plane: reads it every half second, and acts immediately.

Every shard streams every running job. What is done once per job (resolve its model, list it, notice its end, record its
rate) is done by the shard that owns it: job id modulo shards.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from producer.backlog import Backlog
from producer.dispatcher import Dispatcher
from producer.leases import LeaseTable
from producer.ledger import LedgerConnections
from producer.lister import JobLister
from producer.messages import JobMessages
from producer.rates import JobRate
from producer.sources import JobSources
from producer.trials import TrialControl
from sluice import ledger
from sluice.errors import ConfigurationError, LedgerError, LedgerUnavailable
from sluice.ledger import Job
from sluice.settings import Settings
from sluice.telemetry import get_logger, metrics

log = get_logger()

RATE_SECONDS: Final = 2.0
IDLE_SECONDS: Final = 5.0


class JobControl:
    """Starts, stops and finishes jobs."""

    def __init__(  # noqa: PLR0913 - the parts that it joins
        self,
        settings: Settings,
        connections: LedgerConnections,
        *,
        backlog: Backlog,
        dispatcher: Dispatcher,
        leases: LeaseTable,
        lister: JobLister,
        sources: JobSources,
        messages: JobMessages,
        trials: TrialControl,
    ) -> None:
        self._settings = settings
        self._ledger = connections.control
        self._backlog = backlog
        self._dispatcher = dispatcher
        self._lister = lister
        self._leases = leases
        self._sources = sources
        self._messages = messages
        self._trials = trials
        self._why_waiting = connections.why_waiting
        self._sources_begun: dict[int, str] = {}
        """The source that each active job had when this process met it running."""
        self._pending: dict[int, int] = {}
        self._idle_since: float | None = None
        self._listings: dict[int, asyncio.Task[bool]] = {}
        self._rates: dict[int, JobRate] = {}
        self._rated_at = 0.0

    async def run(self) -> None:
        """Poll the jobs forever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                if not await self.look(tasks):
                    await asyncio.sleep(self._settings.poll_seconds)

    async def look(self, tasks: asyncio.TaskGroup, clock: Callable[[], float] = time.monotonic) -> bool:
        """Act on the jobs table once; return whether a job was started, which the next look has listed."""
        jobs = await self._ledger.run(ledger.jobs.active)
        # Plain SQL may set a job to 'running' that never began: it is started like a pending one.
        begun = [job for job in jobs if job.state == "running" and job.model_id is not None]
        running = self._unmoved(begun)
        await self._trials.look(list(running.values()))
        self._dispatcher.set_jobs(running)
        self._sources.keep({job.source for job in running.values()})
        mine = [job for job in jobs if job.id % self._settings.shards == self._settings.shard]
        has_started = False
        for job in mine:
            self._messages.adopt(job.id, job.message)
            moved = job.id in self._sources_begun and job.id not in running
            self._messages.say(job.id, "moved", self._why_moved(job) if moved else "")
            if job.id not in self._sources_begun:
                has_started |= await self._start(job)
        mine = [job for job in mine if job.id in running]
        self._list(mine, tasks)
        await self._finish([job for job in mine if not job.watch])
        await self._rate(mine, clock())
        self._explain(mine, clock())
        for job_id, message in self._messages.take({job.id for job in jobs}).items():
            await self._ledger.run(ledger.jobs.set_message, job_id, message)
        return has_started

    def _unmoved(self, begun: list[Job]) -> dict[int, Job]:
        """Return the jobs whose source is still the one that was listed: others' keys would be read somewhere else."""
        self._sources_begun = {job.id: self._sources_begun.get(job.id, job.source) for job in begun}
        return {job.id: job for job in begun if job.source == self._sources_begun[job.id]}

    def _why_moved(self, job: Job) -> str:
        return (
            "set its source back in SQL, or cancel it and submit another: its objects were listed in "
            f"{self._sources_begun[job.id]}"
        )

    async def _start(self, job: Job) -> bool:
        try:
            model = await self._ledger.run(ledger.models.resolve, job.model)
        except LedgerUnavailable:
            raise
        except (ConfigurationError, LedgerError) as error:
            self._messages.say(job.id, "model", str(error))
            return False
        has_started = await self._ledger.run(ledger.jobs.start, job.id, model.id)
        if has_started:
            self._messages.say(job.id, "model", "")
            log.info("job started", job=job.id, source=job.source, model=f"{model.name}@{model.version}")
        return has_started

    def _list(self, running: list[Job], tasks: asyncio.TaskGroup) -> None:
        wanted = {job.id: job.priority for job in running}
        self._lister.set_priorities(wanted)
        for job_id in [job_id for job_id in self._listings if job_id not in wanted]:
            self._listings.pop(job_id).cancel()
        for job in running:
            listing = self._listings.get(job.id)
            # A failed job that runs again was retried between two polls.
            if listing is None or (listing.done() and not listing.cancelled() and not listing.result()):
                self._listings[job.id] = tasks.create_task(self._lister.follow(job))

    async def _finish(self, running: list[Job]) -> None:
        for job in running:
            if self._backlog.in_hand(job.id) or not self._listings[job.id].done():
                continue
            if await self._ledger.run(ledger.jobs.finish, job.id):
                log.info("job done", job=job.id)
            elif (await self._ledger.run(ledger.listing.state, job.id)).repeat_no < job.repeats:
                # It was listed, but the database was set back since: the next look has it listed from there.
                del self._listings[job.id]

    async def _rate(self, running: list[Job], now: float) -> None:
        """Record each job's pending objects and rate, from the counters: of all consumers of all shards."""
        if now - self._rated_at < RATE_SECONDS:
            return
        self._rated_at = now
        self._rates = {job.id: self._rates[job.id] for job in running if job.id in self._rates}
        self._pending = {}
        for job in running:
            found = await self._ledger.run(ledger.progress.progress, job.id)
            if found is None:
                continue
            self._pending[job.id] = found.pending
            done = found.done + found.quarantined
            rate = self._rates.get(job.id)
            if rate is None:
                self._rates[job.id] = JobRate(now, done)
                continue
            before = rate.value
            if rate.look(now, done) or before:
                await self._ledger.run(ledger.jobs.record_rate, job.id, rate.value)
        metrics.BACKLOG.set(sum(self._pending.values()))

    def _explain(self, running: list[Job], now: float) -> None:
        """Set why jobs with pending objects wait, if consumers have been the cause for a while."""
        why = self._leases.why_idle()
        self._idle_since = (self._idle_since or now) if why else None
        waits = self._idle_since is not None and now - self._idle_since >= IDLE_SECONDS
        ledger_why = self._why_waiting()
        for job in running:
            self._messages.say(job.id, "ledger", ledger_why)
            said = why if waits else self._backlog.why_resting(job.id)
            self._messages.say(job.id, "consumers", said if self._pending.get(job.id) else "")
