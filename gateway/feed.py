"""How far jobs are, for all who watch: one query a second for the whole process, and none while nobody watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from gateway.ledgers import LedgerPool
from sluice.errors import Busy, LedgerError
from sluice.ledger import seen
from sluice.ledger.seen import SeenJob
from sluice.telemetry import get_logger

log = get_logger()

LOOK_SECONDS: Final = 1.0
JOBS: Final = 200
"""The newest jobs, and as many that have not ended, are looked at."""
MOST: Final = 200
"""People who watch at once; others are asked to come back."""
RETRY_SECONDS: Final = 30
WATCH_SECONDS: Final = 300.0
"""A stream ends after so long and the browser opens the next: whoever was signed out meanwhile gets none."""
SILENT_SECONDS: Final = 15.0
"""A stream without news says so, since proxies end silent connections."""


class JobFeed:
    """Looks at jobs while anybody watches, and tells all of them."""

    def __init__(self, ledger: LedgerPool, look_seconds: float = LOOK_SECONDS, most: int = MOST) -> None:
        self._ledger = ledger
        self._look_seconds = look_seconds
        self._most = most
        self._watching = 0
        self._begun = asyncio.Event()
        self._looked = asyncio.Event()
        """Of the next look; each look has its own."""
        self._jobs: list[SeenJob] = []
        self._looks = 0
        self._closed = False

    async def run(self) -> None:
        """Look once a second while somebody watches, until cancelled."""
        while True:
            await self._begun.wait()
            try:
                self._jobs = await self._ledger.run(seen.lately, JOBS)
            except LedgerError as error:
                log.warning("jobs can't be watched", why=str(error))
            else:
                self._looks += 1
                self._tell()
            await asyncio.sleep(self._look_seconds)

    def check_room(self) -> None:
        """Raise Busy while as many watch as may."""
        if self._watching >= self._most:
            raise Busy(f"{self._most} people watch jobs: load the page again in a while", RETRY_SECONDS)

    async def watch(self) -> AsyncGenerator[list[SeenJob] | None]:
        """Return everybody's newest and unfinished jobs, again and again for some minutes; None: there is no news."""
        self._watching += 1
        self._begun.set()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WATCH_SECONDS
        told = self._looks
        try:
            while not self._closed and loop.time() < deadline:
                if told < self._looks:
                    told = self._looks
                    yield self._jobs
                    continue
                try:
                    async with asyncio.timeout(SILENT_SECONDS):
                        await self._looked.wait()
                except TimeoutError:
                    yield None
        finally:
            self._watching -= 1
            if not self._watching:
                self._begun.clear()

    def close(self) -> None:
        """End all streams, so that a process that drains need not wait for them."""
        self._closed = True
        self._tell()

    def _tell(self) -> None:
        self._looked.set()
        self._looked = asyncio.Event()
