"""A job whose first rows come while consumers are busy with another one: it needn't wait until that one's are gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from producer.backlog import Backlog
from producer.dispatcher import Dispatcher
from producer.failures import FailureWriter
from producer.leased import WorkGrant
from producer.leases import LeaseTable
from producer.ledger import LedgerConnections
from sluice.domain import ListedObject
from sluice.ledger import Database, jobs, listing
from sluice.settings import Settings
from sluice.telemetry.health import Health
from tests.support.ledger_rows import running_job

CREDIT = 10


def add(database: Database, job: int, count: int) -> None:
    page = [ListedObject(b"%09d" % n, "e", 1) for n in range(count)]
    database.run(listing.add_page, job, page, repeat_no=0, last=False, repeats=1)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - a table tells nobody that it changed
            await asyncio.sleep(0.01)


def test_a_new_jobs_objects_take_turns_with_those_that_wait_for_busy_consumers(
    settings: Settings, ledger: Database
) -> None:
    large, small = running_job(ledger), running_job(ledger)
    add(ledger, large, 900)
    backlog, leases = Backlog(), LeaseTable(heartbeat=60.0)
    sent: list[int] = []

    def send(grant: WorkGrant) -> bool:
        sent.extend(ready.object.job for ready in grant.items)
        return True

    async def stream() -> None:
        connections, awake = LedgerConnections(settings, Health()), asyncio.Event()
        dispatcher = Dispatcher(
            settings.model_copy(update={"delivery": "reference"}),
            connections.read,
            backlog=backlog,
            leases=leases,
            sources=cast("Any", None),
            failures=FailureWriter(connections.write, backlog, written=awake.set),
            awake=awake,
            send=send,
        )
        leases.hello(b"c", "consumer", 0.0)
        leases.extend(b"c", CREDIT, 0)
        running = asyncio.create_task(dispatcher.run())
        try:
            dispatcher.set_jobs({found.id: found for found in await connections.read.run(jobs.active)})
            await until(lambda: len(sent) == CREDIT)
            assert leases.wanted() == (0, 0)
            await asyncio.to_thread(add, ledger, small, 1)
            dispatcher.more(small)
            dispatcher.wake()
            await until(lambda: backlog.in_hand(small) == 1)
            leases.extend(b"c", CREDIT + 2, 0)
            dispatcher.wake()
            await until(lambda: len(sent) == CREDIT + 2)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            connections.close()

    asyncio.run(stream())
    assert sorted(sent[CREDIT:]) == [large, small]
