"""The stream of objects: fetches within the credits, sends WORK messages, and handles results.

Everything runs on the event loop without locks: the tables (backlog, leases) only change between two awaits. Memory is
bounded: bytes by `prefetch_bytes`, objects that wait to be fetched by `producer.pages`, fetched objects by the
consumers' credit. Nothing is taken while too many failures wait to be written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Final

from producer.backlog import Backlog
from producer.failures import FailureWriter
from producer.leased import ConsumerDeath, Lease, StreamedObject, WorkGrant
from producer.leases import LeaseTable
from producer.pages import PageReader
from producer.refusals import TRIES, RefusalCounter, Witness
from producer.sources import JobSources
from sluice import ledger
from sluice.backoff import wait_after
from sluice.domain import ReadFailure, Reason
from sluice.errors import ConfigurationError, ObjectError, ReadRefused, SourceError
from sluice.ledger import AsyncLedger, Job
from sluice.objects import ObjectChanged
from sluice.protocol import Failure
from sluice.settings import Settings
from sluice.telemetry import get_logger, metrics

log = get_logger()

HOP_SECONDS: Final = metrics.STAGE_SECONDS.labels(stage="hop")
S3_SECONDS: Final = metrics.STAGE_SECONDS.labels(stage="s3")

# Objects that arrive within this time share a WORK message.
GATHER_SECONDS: Final = 0.005
GATHER_OBJECTS: Final = 16
FIRST_RETRY: Final = 1.0
LONGEST_RETRY: Final = 30.0
WITNESSES: Final = 5


class Dispatcher:
    """One shard's stream of objects. `awake` is set when something new may be possible."""

    def __init__(
        self,
        settings: Settings,
        ledger: AsyncLedger,
        *,
        backlog: Backlog,
        leases: LeaseTable,
        sources: JobSources,
        failures: FailureWriter,
        awake: asyncio.Event,
        send: Callable[[WorkGrant], bool],
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._backlog = backlog
        self._leases = leases
        self._sources = sources
        self._failures = failures
        self._refusals = RefusalCounter(sources, self._find_read)
        self._send = send
        self._jobs: dict[int, Job] = {}
        self._pages = PageReader(settings, ledger, backlog, self.wake)
        self._fetching = 0
        self._fetching_bytes = 0
        self._fetching_alone = 0
        self._checking = 0
        self._awake = awake
        self._hungry = asyncio.Event()
        self._gathering: asyncio.TimerHandle | None = None
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Stream forever."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._turn_pages())
            while True:
                await self._awake.wait()
                self._awake.clear()
                self.dispatch()
                self._fetch()
                self._deal()
                self._hungry.set()

    @property
    def in_hand(self) -> int:
        """Number of this shard's objects between reading and result."""
        return len(self._backlog)

    def wake(self) -> None:
        """Check again what is possible."""
        self._awake.set()

    def set_jobs(self, jobs: dict[int, Job]) -> None:
        """Set the running jobs. Fetched objects of other jobs are dropped; leased ones come back by themselves."""
        self._jobs = jobs
        for job in self._backlog.set_jobs({job.id: job.priority for job in jobs.values()}):
            for found in self._leases.withdraw(job):
                self._backlog.finish(found)
            self._pages.forget(job)
        self._pages.set_jobs(list(jobs.values()))
        if self._leases.credit:
            self.wake()

    def more(self, job: int) -> None:
        """Record that a job has new pending rows."""
        self._pages.more(job)
        if self._leases.credit:
            self.wake()

    def dispatch(self) -> None:
        """Send ready objects to consumers with credit."""
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        now = time.monotonic()
        unsent: list[WorkGrant] = []
        for grant in self._leases.assign(now):
            began = time.perf_counter()
            if self._send(grant):
                metrics.LEASED.inc(len(grant.items))
                each = (time.perf_counter() - began) / len(grant.items)
                for _ in grant.items:
                    HOP_SECONDS.observe(each)
            else:
                unsent.append(grant)
        # These were never sent, so they don't become suspects. Their consumer is gone, or so far behind that nothing
        # can be sent to it: it gets no more in this session.
        for grant in unsent:
            self._put_back(self._leases.take(grant.identity, [ready.object.id for ready in grant.items]))
            self._leases.cut(grant.identity)

    # Reports of consumers (producer.inbox.LeaseEvents)

    def finished(self, leases: Sequence[Lease]) -> None:
        """Drop committed objects."""
        now = time.monotonic()
        for lease in leases:
            metrics.OBJECT_SECONDS.observe(now - lease.since)
            self._failures.settle(lease.object)
            self._backlog.finish(lease.object)
            self._backlog.predicts(lease.object.job)
        self.wake()

    def failed(self, pairs: Sequence[tuple[StreamedObject, Failure]]) -> None:
        """Pass on the failures that consumers report."""
        for found, failure in pairs:
            if failure.reason == ReadFailure.CHANGED:
                self._spawn(self._check(self._recheck(found)))
            elif failure.reason == ReadFailure.STORAGE_ERROR:
                self._spawn(self._check(self._doubt(found, failure.detail)))
            elif reason := Reason.of_code(failure.reason):
                self._failures.fail(found, reason, failure.detail)
            else:
                log.warning(
                    "unknown reason from a consumer: does it run a newer version?",
                    reason=failure.reason,
                    object=found.id,
                )
                self._backlog.requeue(found, time.monotonic(), LONGEST_RETRY)
        self.wake()

    def returned(self, objects: Sequence[StreamedObject], why: str = "") -> None:
        """Put returned objects back: first in line, or after a delay if their model gives no predictions."""
        metrics.RETURNED.inc(len(objects))
        for job in {found.job for found in objects} if why else ():
            asyncio.get_running_loop().call_later(self._backlog.rest(job, time.monotonic(), why), self.wake)
        self._put_back(objects)

    def _put_back(self, objects: Sequence[StreamedObject]) -> None:
        for found in objects:
            self._backlog.requeue(found, time.monotonic())
        if objects:
            self.wake()

    def died(self, loss: ConsumerDeath) -> None:
        """Have the death counted; the objects come back afterwards."""
        log.warning("consumer lost", consumer=loss.consumer, objects=len(loss.objects))
        for found in loss.spared:
            metrics.REDELIVERED.inc()
            self._backlog.requeue(found, time.monotonic())
        if loss.objects:
            self._failures.die(loss.objects)
        self.wake()

    # Pages

    async def _turn_pages(self) -> None:
        while True:
            await self._hungry.wait()
            self._hungry.clear()
            while self._may_take() and await self._pages.read():
                self.wake()

    def _may_take(self) -> bool:
        """Return whether consumers want more than is in progress, and failures are written fast enough.

        Busy consumers want no more than the objects that wait here. A job that has none among them is read anyway.
        """
        wanted = self._leases.wanted()[0] > self._fetching or (self._pages.has_starved and self._leases.sessions)
        return bool(wanted) and not self._failures.full

    # Fetches

    def _fetch(self) -> None:
        """Start fetches while consumers want objects and there is space for bytes."""
        now = time.monotonic()
        while self._fetching + self._checking < self._settings.fetch_concurrency and not self._failures.full:
            total, alone = self._leases.wanted()
            if total <= self._fetching or self._leases.bytes + self._fetching_bytes >= self._settings.prefetch_bytes:
                return
            found = self._backlog.take(now, suspects=alone > self._fetching_alone)
            if found is None:
                return
            if found.size == 0:
                self._failures.fail(found, Reason.EMPTY, "0 bytes")
            elif found.size > self._settings.object_max_bytes:
                self._failures.fail(
                    found, Reason.TOO_LARGE, f"{found.size} bytes, more than {self._settings.object_max_bytes}"
                )
            elif not self._inline(found):
                self._leases.offer(found, None, now)
            elif self._has_room(found.size):
                self._spawn_fetch(found)
            else:
                self._backlog.requeue(found, now)
                return

    def _inline(self, found: StreamedObject) -> bool:
        """Return whether the bytes are sent in the message. An object that would fill half the memory never is."""
        if self._settings.delivery == "reference" or found.size > self._settings.prefetch_bytes // 2:
            return False
        small = found.size <= self._settings.inline_max_bytes
        return small or self._settings.delivery == "inline"

    def _has_room(self, size: int) -> bool:
        return self._leases.bytes + self._fetching_bytes + size <= self._settings.prefetch_bytes

    def _spawn_fetch(self, found: StreamedObject) -> None:
        self._fetching += 1
        self._fetching_bytes += found.size
        self._fetching_alone += found.alone
        self._spawn(self._fetch_one(found))

    async def _fetch_one(self, found: StreamedObject) -> None:
        began = time.monotonic()
        data = None
        try:
            data = await self._sources.get(found.source).read(found.key, found.etag, self._settings.object_max_bytes)
        except ObjectChanged as change:
            self._failures.change(found, change.listed)
        except ObjectError as error:
            self._failures.fail(found, Reason(error.reason), error.detail)
        except ReadRefused as error:
            await self._doubt(found, str(error))
        except (SourceError, ConfigurationError) as error:
            self._backlog.requeue(found, time.monotonic(), self._trouble(found.job, str(error)))
        finally:
            self._fetching -= 1
            self._fetching_bytes -= found.size
            self._fetching_alone -= found.alone
        if data is not None:
            S3_SECONDS.observe(time.monotonic() - began)
            self._sources.fine(found.job)
            self._refusals.was_read(found, began)
            self._offer(found, data)
        self.wake()

    def _offer(self, found: StreamedObject, data: bytes) -> None:
        if found.job not in self._jobs:
            self._backlog.finish(found)
            return
        self._leases.offer(found, data, time.monotonic())
        self._deal()

    def _deal(self) -> None:
        """Send what is ready, now or together with what is there in a moment."""
        if not self._leases.ready:
            return
        if self._leases.ready >= GATHER_OBJECTS or not self._fetching:
            self.dispatch()
        elif self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(GATHER_SECONDS, self.dispatch)

    def _trouble(self, job: int, why: str) -> float:
        """Record that a job's source doesn't answer; return the seconds to wait."""
        times = self._sources.trouble(job, why)
        wait = wait_after(times, FIRST_RETRY, LONGEST_RETRY)
        if times > self._settings.fetch_concurrency:
            self._backlog.hold(job, time.monotonic() + wait)
        asyncio.get_running_loop().call_later(wait, self.wake)
        return wait

    async def _doubt(self, found: StreamedObject, why: str) -> None:
        """Quarantine an object that the storage always refuses while others can be read; otherwise retry it."""
        count = await self._refusals.refused(found)
        wait = wait_after(count, FIRST_RETRY, LONGEST_RETRY) if count else self._trouble(found.job, why)
        if count:  # another object of its source was read
            self._sources.fine(found.job)
        if count >= TRIES:
            self._failures.fail(found, Reason.UNREADABLE, why)
        else:
            self._backlog.requeue(found, time.monotonic(), wait)
            asyncio.get_running_loop().call_later(wait, self.wake)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        if self._tasks is None:
            raise RuntimeError("Dispatcher.run() has not begun")
        self._tasks.create_task(work)

    async def _check(self, work: Coroutine[None, None, None]) -> None:
        """Check a consumer's report on an object; meanwhile fewer objects are fetched, so that both fit."""
        self._checking += 1
        try:
            await work
        finally:
            self._checking -= 1
            self.wake()

    async def _find_read(self, job: int) -> Sequence[Witness]:
        """Return some objects of a job that were read before."""
        return await self._ledger.run(ledger.objects.some_done, job, WITNESSES)

    async def _recheck(self, found: StreamedObject) -> None:
        """Find out what a key holds that a consumer found changed."""
        try:
            listed = await self._sources.get(found.source).head(found.key)
        except ObjectError as error:
            self._failures.fail(found, Reason(error.reason), error.detail)
        except (SourceError, ConfigurationError) as error:
            self._backlog.requeue(found, time.monotonic(), self._trouble(found.job, str(error)))
        else:
            if listed.etag == found.etag:
                self._backlog.requeue(found, time.monotonic())
            else:
                self._failures.change(found, listed)
        self.wake()
