"""One owner a shard: a named lock in the database, held by the connection that writes listings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

from producer.books import Books
from sluice.errors import LedgerError
from sluice.ledger import LedgerCursor, LockLost
from sluice.ledger.connection import IDLE_SECONDS
from sluice.settings import Settings
from sluice.telemetry import get_logger
from sluice.telemetry.health import Health

T = TypeVar("T")

log = get_logger()

STANDBY_SECONDS: Final = 1.0
# The server ends a silent connection after IDLE_SECONDS, so that a vanished machine's shard becomes free.
PROOF_SECONDS: Final = 5.0
TAKE_AGAIN_SECONDS: Final = IDLE_SECONDS + 5.0
"""Until then the server must have ended the connection that was lost, of whose loss it may not have heard."""


class ShardTaken(LedgerError):
    """Raised when another producer took over this shard while the database was away."""


class ShardLock(Books):
    """The right to list for a shard and to lease its objects."""

    def __init__(self, settings: Settings, health: Health) -> None:
        super().__init__(settings, health, "lock")
        self._lock = f"sluice.producer.{settings.shard}"
        self._shard = settings.shard
        self._shown = health
        self._taking_again = asyncio.Lock()

    async def acquire(self) -> None:
        """Wait until this process owns the shard: at once, or as a standby for as long as another owns it."""
        waiting = False
        while not await self._try():
            if not waiting:
                waiting = True
                why = f"shard {self._shard} has another owner: this producer stands by and takes over when it ends"
                log.warning("standing by", shard=self._shard, lock=self._lock, hint="give each producer its own shard")
                self._shown.set("shard", ok=False, why=why)
            await asyncio.sleep(STANDBY_SECONDS)
        self._shown.set("shard", ok=True, why="")
        log.info("shard owned", shard=self._shard)

    async def run(self, work: Callable[[LedgerCursor], T]) -> T:
        """Run one transaction under the lock, taken again first if the database dropped it meanwhile."""
        while True:
            try:
                return await self.patiently(lambda: self._run_locked(work))
            except LockLost:
                await self._take_again()

    def _run_locked(self, work: Callable[[LedgerCursor], T]) -> T:
        """Run it, unless the lock is known to be lost: whoever noticed that may have been cancelled since."""
        if not self.database.holds(self._lock):
            raise LockLost(f"the lock {self._lock} was lost")
        return self.database.run(work)

    async def prove(self) -> None:
        """Use the lock's connection from time to time, for ever: a lost lock is noticed even when nothing is listed."""
        while True:
            await asyncio.sleep(PROOF_SECONDS)
            await self.run(_nothing)

    async def _take_again(self) -> None:
        """Take the lock on a new connection. The server may need a moment to notice that the old one is gone."""
        async with self._taking_again:
            if self.database.holds(self._lock):
                return  # by another who noticed
            deadline = time.monotonic() + TAKE_AGAIN_SECONDS
            while not await self._try():
                if time.monotonic() > deadline:
                    raise ShardTaken(
                        f"shard {self._shard} was taken over by another producer while the database was away"
                    )
                await asyncio.sleep(STANDBY_SECONDS)
        log.warning("lock taken again after a lost connection", shard=self._shard)

    async def _try(self) -> bool:
        return await self.patiently(lambda: self.database.hold_lock(self._lock))


def _nothing(cursor: LedgerCursor) -> None:
    """Let `run` begin and commit: that already asks the server."""
