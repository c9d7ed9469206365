"""The consumer's use of the ledger: reads each model's row once, and commits predictions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Concatenate, Final, ParamSpec, TypeVar

from sluice.domain import Model
from sluice.errors import ConfigurationError, LedgerError
from sluice.images import Preprocessing
from sluice.ledger import AsyncLedger, Database, LedgerCursor, Prediction, models, objects, predictions
from sluice.telemetry import get_logger

log = get_logger()

P = ParamSpec("P")
T = TypeVar("T")

NEWEST_MODELS: Final = 8


class ConsumerLedger:
    """The consumer's queries, on one connection."""

    def __init__(self, ledger: AsyncLedger) -> None:
        self._ledger = ledger
        self._models: dict[int, Model] = {}
        self._unusable: dict[int, str] = {}
        """What was logged for unusable models: one line each, though their objects come repeatedly."""
        self._has_answered = False

    async def model(self, number: int) -> Model | None:
        """Return a model's row."""
        known = self._models.get(number)
        if known is None:
            known = await self._call(Database.run, models.get, number)
            if known is None or not self._is_usable(known):
                return None
            self._models[number] = known
        return known

    async def likely_models(self) -> Sequence[Model]:
        """Return the models that work may soon need: the live ones, and the newest.

        Until the ledger has answered once, there are no retries: what it lacks is reported immediately.
        """
        known = await self._call(Database.run if self._has_answered else Database.try_once, models.list_models)
        self._has_answered = True
        newest = sorted(known, key=lambda model: (model.live, model.id), reverse=True)
        return [model for model in newest[:NEWEST_MODELS] if self._is_usable(model)]

    async def commit(self, rows: Sequence[Prediction]) -> tuple[set[int], set[int]]:
        """Insert predictions in one transaction; return the objects that had none before, and those to commit later.

        The latter's rows are locked by another transaction.
        """
        return await self._call(Database.run, _commit, rows)

    async def tell_of_locked(self, count: int) -> None:
        """Report who keeps the rows of so many objects locked."""
        with contextlib.suppress(LedgerError):  # the next commit has the same error, and reports it
            await self._call(Database.tell_of_locked, count)

    def close(self) -> None:
        """Close the connection as soon as it isn't in use."""
        self._ledger.close()

    def _is_usable(self, model: Model) -> bool:
        """Return whether images can be prepared for a model; a bad row must not end the process."""
        try:
            Preprocessing.from_dict(model.preprocessing)
        except (ValueError, TypeError) as error:
            why = str(error)
            if self._unusable.get(model.id) != why:
                self._unusable[model.id] = why
                log.error("a model's row can't be used: register it again", model=model.name, id=model.id, why=why)  # noqa: TRY400 - its traceback says nothing
            return False
        self._unusable.pop(model.id, None)
        return True

    async def _call(self, use: Callable[Concatenate[Database, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await self._ledger.call(use, *args, **kwargs)
        except ConfigurationError as error:
            # A password that changes while the consumer runs must not count as its death.
            raise LedgerError(str(error)) from error


def _commit(cursor: LedgerCursor, rows: Sequence[Prediction]) -> tuple[set[int], set[int]]:
    new = predictions.commit(cursor, rows)
    return new, objects.still_pending(cursor, {row.object_id for row in rows} - new)
