"""The consumer's use of the ledger: reads each model's row once, and commits predictions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Concatenate, Final, ParamSpec, TypeVar

from consumer.held import RunningTrial
from sluice.domain import Model
from sluice.errors import ConfigurationError, LedgerError
from sluice.images import Preprocessing
from sluice.ledger import (
    AsyncLedger,
    Database,
    LedgerCursor,
    Prediction,
    models,
    objects,
    predictions,
    trial_predictions,
    trials,
)
from sluice.ledger.trial_predictions import TrialPrediction
from sluice.telemetry import get_logger

log = get_logger()

P = ParamSpec("P")
T = TypeVar("T")

NEWEST_MODELS: Final = 8


@dataclass(frozen=True, slots=True)
class CommittedRows:
    """What became of a commit's objects; those that others had made done before are in none of these."""

    new: set[int]
    locked: set[int]
    """Their rows are locked by another transaction: commit them later."""
    outdated: frozenset[int] = frozenset()
    """A candidate answered them whose trial has ended: they go back."""


class ConsumerLedger:
    """The consumer's queries, on one connection."""

    def __init__(self, ledger: AsyncLedger) -> None:
        self._ledger = ledger
        self._models: dict[int, Model] = {}
        self._unusable: dict[int, str] = {}
        """What was logged for unusable models: one line each, though their objects come repeatedly."""
        self._has_answered = False
        self._trials: dict[int, RunningTrial] = {}

    async def model(self, number: int) -> Model | None:
        """Return a model's row."""
        known = self._models.get(number)
        if known is None:
            known = await self._call(Database.run, models.get, number)
            if known is None or not self._is_usable(known):
                return None
            self._models[number] = known
        return known

    async def trial(self, number: int) -> RunningTrial | None:
        """Return a trial; None: there is none, or its candidate can't be used here."""
        known = self._trials.get(number)
        if known is None:
            found = await self._call(Database.run, trials.get, number)
            candidate = await self.model(found.model_id) if found else None
            if found is None or candidate is None:
                return None
            preprocessing = Preprocessing.from_dict(candidate.preprocessing)
            known = RunningTrial(number, found.wish.share, found.wish.shadow, candidate, preprocessing)
            self._trials[number] = known
        return known

    async def likely_models(self) -> Sequence[Model]:
        """Return the models that work may soon need: the live ones, and the newest.

        Until the ledger has answered once, there are no retries: what it lacks is reported immediately.
        """
        known = await self._call(Database.run if self._has_answered else Database.try_once, models.list_models)
        self._has_answered = True
        newest = sorted(known, key=lambda model: (model.live, model.id), reverse=True)
        return [model for model in newest[:NEWEST_MODELS] if self._is_usable(model)]

    async def commit(self, rows: Sequence[Prediction], tried: Sequence[TrialPrediction] = ()) -> CommittedRows:
        """Insert predictions, and what candidates say of the same objects, in one transaction."""
        return await self._call(Database.run, _commit, rows, tried)

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
        except ValueError as error:
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


def _commit(cursor: LedgerCursor, rows: Sequence[Prediction], tried: Sequence[TrialPrediction]) -> CommittedRows:
    over = trial_predictions.over(cursor, tried)
    outdated = frozenset(each.said.object_id for each in tried if each.trial_id in over and each.is_instead)
    new = predictions.commit(cursor, [row for row in rows if row.object_id not in outdated])
    trial_predictions.add(cursor, [each for each in tried if each.said.object_id in new and each.trial_id not in over])
    locked = objects.still_pending(cursor, {row.object_id for row in rows} - new - outdated)
    return CommittedRows(new, locked, outdated)
