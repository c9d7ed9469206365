"""The consumer's one connection to the ledger, used from one thread; and the model rows, read once each."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from sluice.domain import Model
from sluice.errors import ConfigurationError, LedgerError
from sluice.images import Preprocessing
from sluice.ledger import Database, Prediction, models, objects, predictions
from sluice.ledger.connection import LedgerCursor
from sluice.settings import Settings
from sluice.telemetry import get_logger

log = get_logger()

T = TypeVar("T")

NEWEST_MODELS: Final = 8


class Books:
    """Asks the ledger without keeping the event loop; one question at a time, since a connection takes no more."""

    def __init__(self, settings: Settings) -> None:
        self._database = Database(settings)
        self._thread = ThreadPoolExecutor(1, "ledger")
        self._models: dict[int, Model] = {}
        self._has_answered = False

    async def model(self, number: int) -> Model | None:
        """Return a model's row."""
        known = self._models.get(number)
        if known is None:
            known = await self._run(lambda cursor: models.get(cursor, number))
            if known is None or not _is_usable(known):
                return None
            self._models[number] = known
        return known

    async def likely_models(self) -> Sequence[Model]:
        """Return the models that work may soon ask for: those that are live, and the newest.

        A ledger that never answered yet is given no patience: what it lacks is told at once.
        """
        known = await self._run(models.list_models, None if self._has_answered else 0)
        self._has_answered = True
        newest = sorted(known, key=lambda model: (model.live, model.id), reverse=True)
        return [model for model in newest[:NEWEST_MODELS] if _is_usable(model)]

    async def commit(self, rows: Sequence[Prediction]) -> tuple[set[int], set[int]]:
        """Insert predictions in one transaction; return the objects that had none before, and those yet to be made.

        The latter's rows are locked by another transaction.
        """

        def work(cursor: LedgerCursor) -> tuple[set[int], set[int]]:
            new = predictions.commit(cursor, rows)
            return new, objects.still_pending(cursor, {row.object_id for row in rows} - new)

        return await self._run(work)

    async def tell_of_locked(self, count: int) -> None:
        """Say who keeps so many objects' rows locked."""
        with contextlib.suppress(LedgerError, ConfigurationError):  # the next commit meets it too, and tells
            await asyncio.get_running_loop().run_in_executor(self._thread, self._database.tell_of_locked, count)

    def close(self) -> None:
        """Close the connection as soon as it isn't in use."""
        self._thread.submit(self._database.close)
        self._thread.shutdown(wait=False)

    async def _run(self, ask: Callable[[LedgerCursor], T], patience: float | None = None) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, ask, patience)

    def _ask(self, ask: Callable[[LedgerCursor], T], patience: float | None) -> T:
        try:
            return self._database.run(ask, patience)
        except ConfigurationError as error:
            # A password that is changed under a running consumer must not count as its death.
            raise LedgerError(str(error)) from error


def _is_usable(model: Model) -> bool:
    """Return whether images can be made ready for a model; a row is data, and must not end the process."""
    try:
        Preprocessing.from_dict(model.preprocessing)
    except (ValueError, TypeError) as error:
        log.error("a model's row can't be used: register it again", model=model.name, id=model.id, why=str(error))  # noqa: TRY400 - its traceback says nothing
        return False
    return True
