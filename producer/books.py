"""The ledger as the producer's coroutines use it: one connection, one transaction at a time, in a thread of its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sluice import ledger
from sluice.errors import LedgerUnavailable, TablesMissing
from sluice.ledger import Database, LedgerCursor
from sluice.settings import Settings
from sluice.telemetry import get_logger
from sluice.telemetry.health import Health

T = TypeVar("T")

log = get_logger()

FIRST_WAIT = 0.5
LONGEST_WAIT = 1.5


class Books:
    """One connection to the ledger.

    Waits for an absent database, or one without tables, as long as it takes: nothing is given up for it.
    """

    def __init__(self, settings: Settings, health: Health, name: str) -> None:
        self.database = Database(settings)
        self._health = health
        self._name = name
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"ledger-{name}")
        self._turn = asyncio.Lock()

    async def arrive(self) -> None:
        """Wait for the database and its tables, which may well be started later than this process."""
        await self.patiently(lambda: self.database.run(ledger.jobs.active, patience=0))

    async def run(self, work: Callable[[LedgerCursor], T]) -> T:
        """Run `work` in one transaction; repeated until the database answers, so it must be safe to repeat."""
        return await self.patiently(lambda: self.database.run(work))

    async def patiently(self, call: Callable[[], T]) -> T:
        """Do what needs the connection, again and again while the database is away."""
        wait, said = FIRST_WAIT, ""
        while True:
            try:
                found = await self._call(call)
            except (LedgerUnavailable, TablesMissing) as error:
                self._health.set(f"ledger-{self._name}", ok=False, why=str(error))
                if str(error) != said:
                    said = str(error)
                    log.warning("waiting for the ledger", why=said)
            else:
                self._health.set(f"ledger-{self._name}", ok=True, why="")
                return found
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            wait = min(wait * 2, LONGEST_WAIT)

    def why_waiting(self) -> str:
        """Say what this process's connections wait for: one may still write while another finds no room, say."""
        waiting = [why for name, why in self._health.reasons().items() if name.startswith("ledger-")]
        return waiting[0] if waiting else ""

    async def _call(self, work: Callable[[], T]) -> T:
        """Run what uses the connection in its thread."""
        async with self._turn:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def close(self) -> None:
        """Close the connection, if its thread is free; a statement under way ends with the process."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        if not self._turn.locked():
            self.database.close()
