"""Compares two jobs for whoever asks: a few slices at once for all requests together, each a short transaction."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from gateway.ledgers import LedgerPool
from sluice.ledger import comparisons
from sluice.ledger.comparisons import Comparison

AT_ONCE: Final = 3
"""Slices that all requests compare at once: half of the connections, so that others are answered meanwhile."""
PATIENCE_SECONDS: Final = 8.0
"""A request works on a comparison for so long, then says how far it is; the next one goes on."""
WAIT_SECONDS: Final = 0.1


class Comparer:
    """Makes comparisons; nothing is kept here, so any replica goes on with what another began."""

    def __init__(self, ledger: LedgerPool) -> None:
        self._ledger = ledger
        self._room = asyncio.Semaphore(AT_ONCE)

    async def compare(self, before: int, after: int, seconds: float = PATIENCE_SECONDS) -> Comparison:
        """Return the comparison of two jobs; it may not be complete after so many seconds."""
        comparison_id = await self._ledger.run(comparisons.begin, before, after)
        deadline = time.monotonic() + seconds
        while True:
            found = await self._ledger.run(comparisons.find, comparison_id)
            if found is None:  # compared anew meanwhile
                comparison_id = await self._ledger.run(comparisons.begin, before, after)
                continue
            if found.complete or time.monotonic() >= deadline:
                return found
            try:
                async with asyncio.TaskGroup() as tasks:
                    for _ in range(AT_ONCE):
                        tasks.create_task(self._advance(comparison_id, deadline))
            except ExceptionGroup as several:
                raise several.exceptions[0] from several
            await asyncio.sleep(WAIT_SECONDS)

    async def _advance(self, comparison_id: int, deadline: float) -> None:
        more = True
        while more and time.monotonic() < deadline:
            async with self._room:
                more = await self._ledger.run(comparisons.advance, comparison_id)
