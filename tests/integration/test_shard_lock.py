"""A shard's lock on a real database: when it is lost, the producer stops writing, whoever notices the loss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from producer.ledger import LedgerConnections
from producer.shard import ShardLock
from producer.sources import why_unusable
from sluice.errors import ShardTaken
from sluice.ledger import Database, LedgerCursor
from sluice.settings import Settings
from sluice.telemetry.health import Health

LIMIT_SECONDS = 60.0
LOCK = "sluice.producer.0"


def own_connection(cursor: LedgerCursor) -> int:
    cursor.execute("SELECT CONNECTION_ID() AS id")
    row = cursor.fetchone()
    assert row is not None
    return int(row["id"])


async def lose(lock: ShardLock, ledger: Database) -> None:
    """End the connection that holds the lock; the server has released the lock when this returns."""
    connection = await lock.run(own_connection)

    def kill(cursor: LedgerCursor) -> None:
        cursor.execute("KILL %s", (connection,))

    def is_free(cursor: LedgerCursor) -> bool:
        cursor.execute("SELECT 1 FROM information_schema.processlist WHERE id = %s", (connection,))
        return cursor.fetchone() is None

    ledger.run(kill)
    async with asyncio.timeout(LIMIT_SECONDS):
        while not ledger.run(is_free):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)


class SteppingClock:
    """Stands still, or advances by a minute each time that it is read."""

    def __init__(self) -> None:
        self.now = 0.0
        self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@asynccontextmanager
async def owned(settings: Settings, clock: SteppingClock) -> AsyncIterator[ShardLock]:
    health = Health()
    connections = LedgerConnections(settings, health)
    lock = ShardLock(0, connections.lock, health, clock)
    await lock.acquire()
    try:
        yield lock
    finally:
        connections.close()


def test_a_loss_is_not_forgotten_with_the_listing_that_noticed_it(settings: Settings, ledger: Database) -> None:
    """When a job ends, its listing is cancelled, maybe while it takes the lock again."""
    clock = SteppingClock()

    async def lose_and_cancel() -> None:
        async with owned(settings, clock) as lock:
            await lose(lock, ledger)
            with Database(settings) as another:
                assert another.hold_lock(LOCK)
                listing = asyncio.create_task(lock.run(own_connection))
                async with asyncio.timeout(LIMIT_SECONDS):
                    while lock.is_held:  # noqa: ASYNC110 - a thread changes it
                        await asyncio.sleep(0.01)
                listing.cancel()
                await asyncio.wait({listing})
                assert listing.cancelled()
                clock.step = 60.0
                with pytest.raises(ShardTaken):
                    await lock.run(own_connection)

    asyncio.run(lose_and_cancel())


def test_all_who_notice_a_loss_go_on_with_the_lock_that_one_of_them_took_again(
    settings: Settings, ledger: Database
) -> None:
    async def lose_often() -> None:
        async with owned(settings, SteppingClock()) as lock:
            for _ in range(5):
                await lose(lock, ledger)
                async with asyncio.timeout(LIMIT_SECONDS):
                    found = await asyncio.gather(*(lock.run(own_connection) for _ in range(4)))
                assert len(set(found)) == 1
                assert lock.is_held

    asyncio.run(lose_often())


def test_a_standby_says_what_will_be_wrong_before_it_takes_over(settings: Settings, ledger: Database) -> None:
    ledger.run(own_connection)
    wrong = settings.model_copy(update={"s3_profile": "nowhere"})

    async def stand_by() -> str:
        async with owned(settings, SteppingClock()):
            health = Health()
            connections = LedgerConnections(wrong, health)
            standing = asyncio.create_task(ShardLock(0, connections.lock, health).acquire(partial(why_unusable, wrong)))
            try:
                async with asyncio.timeout(LIMIT_SECONDS):
                    while "nowhere" not in health.reasons().get("shard", ""):  # noqa: ASYNC110 - HTTP threads read it
                        await asyncio.sleep(0.01)
            finally:
                standing.cancel()
                connections.close()
            return health.reasons()["shard"]

    said = asyncio.run(stand_by())
    assert "this producer stands by" in said
    assert "SLUICE_S3_PROFILE" in said
