"""One owner per shard: a named lock in the database, held by the connection that writes listings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Concatenate, Final, ParamSpec, TypeVar

from sluice import ledger
from sluice.errors import LockLost, ShardTaken
from sluice.ledger import AsyncLedger, Database, LedgerCursor
from sluice.ledger.connection import IDLE_SECONDS
from sluice.telemetry import get_logger
from sluice.telemetry.health import Health

P = ParamSpec("P")
T = TypeVar("T")

log = get_logger()

STANDBY_SECONDS: Final = 1.0
# The server closes an idle connection after IDLE_SECONDS, so that a vanished machine's shard becomes free.
PROOF_SECONDS: Final = 5.0
TAKE_AGAIN_SECONDS: Final = IDLE_SECONDS + 5.0
"""By then the server must have closed the lost connection, even if it didn't notice the loss."""


class ShardLock:
    """The right to list for a shard and to lease its objects; held by a connection that nothing else uses."""

    def __init__(
        self, shard: int, ledger: AsyncLedger, health: Health, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._shard = shard
        self._ledger = ledger
        self._health = health
        self._clock = clock
        self._name = f"sluice.producer.{shard}"
        self._taking_again = asyncio.Lock()
        self.taken = 0
        """How often the lock was taken: each time on another connection, maybe to another server."""

    @property
    def is_held(self) -> bool:
        """Return whether the lock was taken and isn't known to be lost."""
        return self._ledger.database.holds(self._name)

    async def arrive(self) -> None:
        """Wait for the database and its tables, which may be started later than this process."""
        await self._ledger.call(Database.try_once, ledger.jobs.active)

    async def acquire(self, why_unusable: Callable[[], str] = str) -> None:
        """Wait until this process owns the shard: immediately, or as a standby while another process owns it.

        A standby says in time what will be wrong once it takes over: `why_unusable` is called in a thread.
        """
        waiting = False
        while not await self._try():
            if not waiting:
                waiting = True
                why = f"shard {self._shard} has another owner: this producer stands by and takes over when it ends"
                log.warning(
                    "waiting for the shard's lock",
                    shard=self._shard,
                    lock=self._name,
                    hint="give each producer its own shard",
                )
                self._health.set("shard", ok=False, why=why)
                if doubt := await asyncio.to_thread(why_unusable):
                    log.error("this standby has wrong settings", shard=self._shard, why=doubt)
                    self._health.set("shard", ok=False, why=f"{why}. {doubt}")
            await asyncio.sleep(STANDBY_SECONDS)
        self._health.set("shard", ok=True, why="")
        log.info("shard owned", shard=self._shard)

    async def run(self, work: Callable[Concatenate[LedgerCursor, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work(cursor, ...)` in one transaction under the lock; take the lock again first if it was lost."""
        while True:
            try:
                return await self._ledger.call(lambda database: self._checked(database).run(work, *args, **kwargs))
            except LockLost:
                await self._take_again()

    async def prove(self) -> None:
        """Use the lock's connection now and then, forever, to notice a lost lock even if nothing is listed."""
        while True:
            await asyncio.sleep(PROOF_SECONDS)
            await self.run(_nothing)

    async def _take_again(self) -> None:
        """Take the lock on a new connection. The server may need a moment to notice that the old one is gone."""
        async with self._taking_again:
            if self.is_held:
                return  # another caller noticed and took it
            deadline = self._clock() + TAKE_AGAIN_SECONDS
            while not await self._try():
                if self._clock() > deadline:
                    raise ShardTaken(
                        f"shard {self._shard} was taken over by another producer while the database was away"
                    )
                await asyncio.sleep(STANDBY_SECONDS)
        log.warning("lock taken again after a lost connection", shard=self._shard)

    async def _try(self) -> bool:
        held = await self._ledger.call(Database.hold_lock, self._name)
        self.taken += held
        return held

    def _checked(self, database: Database) -> Database:
        """Return the connection if it still has the lock; whoever noticed a loss may have been cancelled."""
        if not database.holds(self._name):
            raise LockLost(f"the lock {self._name} was lost")
        return database


def _nothing(cursor: LedgerCursor) -> None:
    """Do nothing: `run` begins and commits, which already asks the server."""
