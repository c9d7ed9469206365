"""Jobs of a producer that runs as a process; the test acts as the consumer."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable
from typing import Any

from sluice.ledger import Database, Prediction, jobs, objects, predictions
from sluice.protocol import Ping
from sluice.settings import Settings
from tests.support.producer_fakes import FakeConsumer

BEAT = 0.5
"""Seconds between two PINGs; how many a producer waits for is the test's heartbeat."""

Start = Callable[..., subprocess.Popen[bytes]]


def play(
    settings: Settings, part: Callable[[FakeConsumer], Awaitable[None]], name: str = "c", credit: int = 100
) -> None:
    """Connect a consumer and let it act."""

    async def whole() -> None:
        consumer = FakeConsumer(settings.bind, name=name)
        beating = asyncio.create_task(_beat(consumer))
        try:
            async with asyncio.timeout(150):
                await consumer.greet(credit)
                await part(consumer)
        finally:
            beating.cancel()
            consumer.close()

    asyncio.run(whole())


async def _beat(consumer: FakeConsumer) -> None:
    while True:
        await asyncio.sleep(BEAT)
        await consumer.say(Ping())


def commit(database: Database, ids: list[int], job: int = 1) -> None:
    rows = [Prediction(i, job, 1, "label", 1.0, (("label", 1.0),), b"\0" * 32, "test") for i in ids]
    database.run(predictions.commit, rows)


def submit(database: Database, source: str, **options: Any) -> int:  # noqa: ANN401 - the job's columns
    return database.run(jobs.submit, source, **options)


def state(database: Database, job: int = 1) -> str:
    found = database.run(jobs.get, job)
    assert found
    return found.state


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def reasons(database: Database) -> dict[str, str]:
    rows = database.run(objects.list_quarantined, limit=100)
    return {row.url.rpartition("/")[2]: row.reason for row in rows}
