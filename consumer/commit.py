"""The stage that makes predictions exist: everything that waits goes into the ledger in one transaction."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final

from consumer.books import Books
from consumer.flow import Flow
from consumer.held import Held
from sluice.errors import LedgerError
from sluice.ledger import Prediction
from sluice.telemetry import get_logger, metrics

log = get_logger()

MOST: Final = 1000
PAUSE_SECONDS: Final = 1.0


class Commit:
    """Commits answers; while the ledger is away it holds them and tries again, for an answer is worth keeping."""

    def __init__(self, name: str, flow: Flow, books: Books, note: Callable[[str], None]) -> None:
        self._name = name
        self._flow = flow
        self._books = books
        self._note = note

    async def run(self) -> None:
        """Commit until cancelled."""
        while True:
            await self.commit(await self._flow.answered.take(MOST))

    async def commit(self, objects: list[Held]) -> None:
        """Commit these, however long it takes, and tell their producers."""
        # An object may be here twice, from a lost session and from its successor.
        rows = {held.item.id: self._row(held) for held in objects if held.answer is not None}
        while True:
            started = time.perf_counter()
            try:
                new = await self._books.commit(list(rows.values()))
                break
            except LedgerError as error:
                self._note(str(error))
                log.warning("predictions can't be committed yet", objects=len(rows), why=str(error))
            await asyncio.sleep(PAUSE_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
        self._note("")
        metrics.STAGE_SECONDS.labels(stage="commit").observe((time.perf_counter() - started) / len(rows))
        metrics.COMMITTED.inc(len(new))
        self._flow.desk.done(objects)

    def _row(self, held: Held) -> Prediction:
        model, answer = held.model, held.answer
        if model is None or answer is None:
            raise AssertionError("an object came to its commit without model or answer")
        top = tuple((model.labels[index], score) for index, score in answer.top)
        label, score = top[0]
        return Prediction(held.item.id, held.item.job, model.id, label, score, top, held.sha256, self._name)
