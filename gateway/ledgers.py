"""Several connections to the ledger for one event loop: requests come side by side, a connection does one thing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Concatenate, Final, ParamSpec, TypeVar

from sluice.ledger import AsyncLedger, Database, LedgerCursor
from sluice.settings import Settings
from sluice.telemetry import LedgerTelemetry

P = ParamSpec("P")
T = TypeVar("T")

CONNECTIONS: Final = 4
PATIENCE_SECONDS: Final = 5.0
"""A person waits for the answer: a database that is away for longer is said to be away."""


class LedgerPool:
    """The ledger for requests; whoever finds all connections in use waits for the first that isn't."""

    def __init__(self, settings: Settings, connections: int = CONNECTIONS, *, joins: bool = False) -> None:
        """`joins`: several statements go to the server at once where they can; see Database."""
        patience = min(settings.database_patience, PATIENCE_SECONDS)
        hasty = settings.model_copy(update={"database_patience": patience})
        observer = LedgerTelemetry()
        self._all = [
            AsyncLedger(Database(hasty, observer, joins=joins), f"ledger-{number}") for number in range(connections)
        ]
        # The last one used is the next one: few requests then need few connections.
        self._idle: asyncio.LifoQueue[AsyncLedger] = asyncio.LifoQueue()
        for ledger in reversed(self._all):
            self._idle.put_nowait(ledger)

    async def run(self, work: Callable[Concatenate[LedgerCursor, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work(cursor, ...)` in one transaction and return its result. It must be safe to repeat."""
        ledger = await self._idle.get()
        try:
            return await ledger.run(work, *args, **kwargs)
        finally:
            self._idle.put_nowait(ledger)

    def close(self) -> None:
        """Close the connections; a statement under way is not waited for."""
        for ledger in self._all:
            ledger.close()
