"""Makes predictions exist: everything that waits goes into the ledger in one transaction, as consumers do it."""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.ledgers import LedgerPool
from sluice.errors import LedgerError
from sluice.ledger import pictures
from sluice.ledger.pictures import Picture
from sluice.telemetry import metrics

MOST: Final = 200
WRITERS: Final = 2


class Recorder:
    """Records pictures with their answers; each waits until its row is committed."""

    def __init__(self, ledger: LedgerPool) -> None:
        self._ledger = ledger
        self._waiting: list[tuple[Picture, asyncio.Future[int]]] = []
        self._came = asyncio.Event()

    async def run(self) -> None:
        """Record until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(self._keep_recording())

    async def record(self, picture: Picture) -> int:
        """Return the id of the object that the picture is from now on."""
        recorded: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((picture, recorded))
        self._came.set()
        return await recorded

    async def _keep_recording(self) -> None:
        while True:
            if not self._waiting:
                self._came.clear()
                await self._came.wait()
                continue
            some, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            try:
                ids = await self._ledger.run(pictures.record, [picture for picture, _ in some])
            except LedgerError as error:
                for _, recorded in some:
                    if not recorded.done():
                        recorded.set_exception(error)
                continue
            except BaseException:
                for _, recorded in some:
                    recorded.cancel()
                raise
            metrics.COMMITTED.inc(len(ids))
            for (_, recorded), object_id in zip(some, ids, strict=True):
                if not recorded.done():
                    recorded.set_result(object_id)
