"""Handles objects that can't be sent: quarantines, supersedes or retries them.

There is one writer, so that a thousand failures are one transaction. An object stays in hand until its failure is
written, and nothing new is taken while too many failures wait: empty objects, for example, fail faster than any
ledger writes.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from producer.backlog import Backlog
from producer.leased import StreamedObject
from sluice import ledger
from sluice.domain import ListedObject, Reason
from sluice.ledger import AsyncLedger, LedgerCursor, QuarantineEntry
from sluice.telemetry import get_logger, metrics

log = get_logger()

BATCH: Final = 1000
MOST_WAITING: Final = 2 * BATCH
# A key whose bytes change under each read would be read forever. A key that is read successfully in between, or that
# only changes once in a while, isn't such a key.
MOST_CHANGES: Final = 5
CHANGES_SECONDS: Final = 600.0
KEYS_REMEMBERED: Final = 10_000
DETAIL_LENGTH: Final = 500
LOCKED_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class ObjectFailure:
    """One failed object, with the reason."""

    object: StreamedObject
    reason: Reason
    detail: str


class FailureWriter:
    """Collects failures and writes them; `written` is called after each transaction."""

    def __init__(
        self,
        ledger: AsyncLedger,
        backlog: Backlog,
        written: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._backlog = backlog
        self._written = written
        self._clock = clock
        self._failed: list[ObjectFailure] = []
        self._died: list[StreamedObject] = []
        self._changed: list[tuple[StreamedObject, ListedObject]] = []
        self._changes: OrderedDict[tuple[int, bytes], tuple[int, float]] = OrderedDict()
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def full(self) -> bool:
        """Return whether so many failures wait to be written that nothing new should be taken."""
        return len(self._failed) + len(self._died) + len(self._changed) >= MOST_WAITING

    def fail(self, found: StreamedObject, reason: Reason, detail: str) -> None:
        """Quarantine an object."""
        self._failed.append(ObjectFailure(found, reason, detail[:DETAIL_LENGTH]))
        self._ring()

    def die(self, objects: Sequence[StreamedObject]) -> None:
        """Count one consumer's death for each object that it held; the third death quarantines an object."""
        self._died.extend(objects)
        self._ring()

    def change(self, found: StreamedObject, listed: ListedObject) -> None:
        """Supersede an object by the version that its key holds now."""
        if self._changes_of(found) >= MOST_CHANGES:
            self.fail(found, Reason.CHANGING, f"changed {MOST_CHANGES} times while it was being read")
        else:
            self._changed.append((found, listed))
            self._ring()

    def settle(self, found: StreamedObject) -> None:
        """Forget how often an object's key changed, because it was read successfully."""
        self._changes.pop((found.job, found.key), None)

    async def run(self) -> None:
        """Write failures as they come, forever; whoever runs it after it was cancelled writes what is left."""
        while True:
            self._news.clear()
            while self._failed or self._died or self._changed:
                await self._write()
                self._written()
            self._idle.set()
            await self._news.wait()

    async def flushed(self) -> None:
        """Wait until all failures are written."""
        await self._idle.wait()

    async def _write(self) -> None:
        if failed := self._failed[:BATCH]:
            await self._quarantine(failed)
            del self._failed[: len(failed)]
        if died := self._died[:BATCH]:
            await self._count_deaths(died)
            del self._died[: len(died)]
        changed = self._changed[:BATCH]
        for job in sorted({found.job for found, _ in changed}):
            await self._supersede(job, [(found, listed) for found, listed in changed if found.job == job])
        del self._changed[: len(changed)]

    async def _supersede(self, job: int, changed: Sequence[tuple[StreamedObject, ListedObject]]) -> None:
        now = {found.id: listed for found, listed in changed}
        added = await self._ledger.run(ledger.listing.add_changed, job, now)
        if added.reopened:
            log.info("a done job runs again", job=job, why="an object was changed while it was read")
        metrics.SUPERSEDED.inc(added.superseded)
        for found, _ in changed:
            self._backlog.finish(found)

    async def _quarantine(self, failures: Sequence[ObjectFailure]) -> None:
        rows = [QuarantineEntry(v.object.id, v.reason, v.detail) for v in failures]
        locked = await self._ledger.run(_quarantine, rows)
        now = self._clock()
        for failure in failures:
            if failure.object.id in locked:  # locked by another transaction: it is read and judged again
                self._backlog.requeue(failure.object, now, LOCKED_SECONDS)
                asyncio.get_running_loop().call_later(LOCKED_SECONDS, self._written)
                continue
            metrics.QUARANTINED.labels(reason=failure.reason).inc()
            log.info(
                "quarantined",
                object=failure.object.id,
                job=failure.object.job,
                reason=failure.reason,
                detail=failure.detail,
            )
            self.settle(failure.object)
            self._backlog.finish(failure.object)

    async def _count_deaths(self, died: Sequence[StreamedObject]) -> None:
        # With the count before, so that a retry after a lost answer counts no death twice.
        deaths = {found.id: found.deaths for found in died}
        condemned = set(await self._ledger.run(ledger.objects.count_death, deaths))
        now = self._clock()
        for found in died:
            if found.id in condemned:
                metrics.QUARANTINED.labels(reason=Reason.KILLED_CONSUMERS).inc()
                log.warning("quarantined", object=found.id, job=found.job, reason=Reason.KILLED_CONSUMERS)
                self._backlog.finish(found)
            else:
                metrics.REDELIVERED.inc()
                self._backlog.requeue(replace(found, deaths=found.deaths + 1), now)

    def _changes_of(self, found: StreamedObject) -> int:
        """Return how often this key changed during a read since the last success, including this time."""
        place = (found.job, found.key)
        now = self._clock()
        count, when = self._changes.pop(place, (0, now))
        count = count + 1 if now - when <= CHANGES_SECONDS else 1
        self._changes[place] = count, now
        if len(self._changes) > KEYS_REMEMBERED:
            self._changes.popitem(last=False)
        return count

    def _ring(self) -> None:
        self._idle.clear()
        self._news.set()


def _quarantine(cursor: LedgerCursor, rows: Sequence[QuarantineEntry]) -> set[int]:
    """Quarantine objects; return those that stay pending because another transaction has them locked."""
    ledger.objects.quarantine(cursor, rows)
    return ledger.objects.still_pending(cursor, [row.object_id for row in rows])
