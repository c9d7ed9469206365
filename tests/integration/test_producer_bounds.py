"""The number of objects that a producer has in hand stays bounded, whatever a bucket contains."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from producer import failures, pages
from producer.backlog import Backlog
from producer.dispatcher import Dispatcher
from producer.failures import FailureWriter
from producer.leased import StreamedObject
from producer.leases import LeaseTable
from producer.ledger import LedgerConnections
from sluice.domain import ListedObject
from sluice.ledger import Database, jobs, listing, objects, progress
from sluice.settings import Settings
from sluice.telemetry.health import Health
from tests.support.ledger_rows import breaches, running_job

COUNT = 25_000
MOST = pages.PAGE + pages.LOW_WATER + failures.MOST_WAITING + failures.BATCH


class Watched(Backlog):
    """A backlog that remembers its maximum of objects in hand."""

    most = 0

    def add(self, found: Iterable[StreamedObject]) -> int:
        added = super().add(found)
        self.most = max(self.most, len(self))
        return added


def test_objects_that_are_given_up_unfetched_are_not_read_faster_than_written(
    settings: Settings, ledger: Database
) -> None:
    """Empty and too large objects use no credit: only their failures, written in bulk, slow down the reading."""
    job = running_job(ledger)
    for first in range(0, COUNT, 1000):
        # Every tenth is too large, each with a different size.
        page = [ListedObject(b"%09d" % n, "e", 0 if n % 10 else 10**9 + n) for n in range(first, first + 1000)]
        ledger.run(listing.add_page, job, page, repeat_no=0, last=False, repeats=1)
    backlog = Watched()

    async def stream() -> None:
        leases, connections = LeaseTable(heartbeat=60.0), LedgerConnections(settings, Health())
        reading, awake = connections.read, asyncio.Event()
        judged = FailureWriter(connections.write, backlog, written=awake.set)
        dispatcher = Dispatcher(
            settings,
            reading,
            backlog=backlog,
            leases=leases,
            sources=cast("Any", None),
            failures=judged,
            awake=awake,
            send=lambda _: False,
        )
        leases.hello(b"c", "consumer", 0.0)
        leases.extend(b"c", 10, 0)
        running = [asyncio.create_task(dispatcher.run()), asyncio.create_task(judged.run())]
        dispatcher.set_jobs({found.id: found for found in await reading.run(jobs.active)})
        try:
            async with asyncio.timeout(120):
                while (await reading.run(progress.progress, job)).pending:  # type: ignore[union-attr]  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            connections.close()

    asyncio.run(stream())
    assert backlog.most <= MOST
    assert ledger.run(objects.count_reasons, job) == {"empty": COUNT * 9 // 10, "too_large": COUNT // 10}
    (found,) = ledger.run(objects.list_quarantined, job, limit=1)
    assert found.detail == f"1000000000 bytes, more than {settings.object_max_bytes}"
    assert breaches(ledger) == []
