"""The ledger for coroutines: one connection, used in its own thread, so that no event loop waits for it.

ledger = AsyncLedger(Database(settings))
job = await ledger.run(jobs.submit, "s3://photos")    # calls jobs.submit(cursor, "s3://photos")
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, Final, ParamSpec, TypeVar

from sluice.backoff import Backoff
from sluice.errors import LedgerUnavailable, TablesMissing
from sluice.ledger.connection import Database, LedgerCursor

P = ParamSpec("P")
T = TypeVar("T")

FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 1.5


class AsyncLedger:
    """One connection to the ledger, which it owns. It serves one call at a time, first come, first served.

    If the database is away or has no tables, LedgerUnavailable or TablesMissing is raised when the connection's
    patience ends. With `on_wait` it waits as long as it takes instead, and calls `on_wait` with each reason, and with
    "" when the database answers again.

    A call that is cancelled while it waits for its turn isn't served. A transaction that has begun isn't stopped: it
    ends in its thread, and may be committed.
    """

    def __init__(self, database: Database, name: str = "ledger", on_wait: Callable[[str], None] | None = None) -> None:
        self.database = database
        self._on_wait = on_wait
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, work: Callable[Concatenate[LedgerCursor, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work(cursor, ...)` in one transaction and return its result. It must be safe to repeat."""
        return await self.call(lambda database: database.run(work, *args, **kwargs))

    async def call(self, use: Callable[Concatenate[Database, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `use(database, ...)` in the connection's thread: for example to take a lock."""
        loop = asyncio.get_running_loop()
        backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
        while True:
            try:
                found = await loop.run_in_executor(self._thread, lambda: use(self.database, *args, **kwargs))
            except (LedgerUnavailable, TablesMissing) as error:
                if self._on_wait is None:
                    raise
                self._on_wait(str(error))
            else:
                if self._on_wait is not None:
                    self._on_wait("")
                return found
            await asyncio.sleep(backoff.next())

    def close(self) -> None:
        """Close the connection as soon as it isn't in use, without waiting for a running statement."""
        self._thread.submit(self.database.close)
        self._thread.shutdown(wait=False)
