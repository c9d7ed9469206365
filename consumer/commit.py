"""The stage that commits predictions: all waiting ones in one transaction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from consumer.held import CandidateAnswer, HeldObject
from consumer.ledger import ConsumerLedger
from consumer.pipeline import Pipeline
from sluice.backoff import jittered
from sluice.domain import Model
from sluice.errors import LedgerError
from sluice.inference import Answer
from sluice.ledger import Prediction
from sluice.ledger.trial_predictions import TrialPrediction
from sluice.telemetry import get_logger, metrics

log = get_logger()

MOST: Final = 1000
PAUSE_SECONDS: Final = 1.0
LOCKED_SECONDS: Final = 5.0
"""Commits of others lock rows for a moment; only longer locks are logged."""


class CommitStage:
    """Commits answers. While the ledger is away it keeps them and retries, since inferring them again costs more.

    Objects whose rows another transaction has locked are also kept, without delaying the others.
    """

    def __init__(
        self,
        name: str,
        pipeline: Pipeline,
        ledger: ConsumerLedger,
        note: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._pipeline = pipeline
        self._ledger = ledger
        self._note = note
        self._clock = clock
        self._locked_since: dict[int, float] = {}

    async def run(self) -> None:
        """Commit until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                if locked := await self.commit(await self._pipeline.answered.take(MOST)):
                    tasks.create_task(self._come_back(locked))

    async def commit(self, objects: list[HeldObject]) -> list[HeldObject]:
        """Commit these, however long it takes, and notify their producers; return those with locked rows."""
        # An object may be here twice, from a lost session and from the next one.
        rows = {held.item.id: self._row(held) for held in objects if held.answer is not None}
        tried = {held.item.id: self._tried(held, held.candidate) for held in objects if held.candidate is not None}
        while True:
            started = time.perf_counter()
            try:
                committed = await self._ledger.commit(list(rows.values()), list(tried.values()))
                break
            except LedgerError as error:
                self._note(str(error))
                log.warning("predictions can't be committed yet", objects=len(rows), why=str(error))
            await asyncio.sleep(jittered(PAUSE_SECONDS))
        self._note("")
        metrics.STAGE_SECONDS.labels(stage="commit").observe((time.perf_counter() - started) / len(rows))
        metrics.COMMITTED.inc(len(committed.new))
        locked, outdated = committed.locked, committed.outdated
        self._pipeline.in_flight.give_back([held for held in objects if held.item.id in outdated])
        self._pipeline.in_flight.done([held for held in objects if held.item.id not in locked | outdated])
        await self._watch_locked(rows.keys() - locked, locked)
        return [held for held in objects if held.item.id in locked]

    async def _watch_locked(self, ended: set[int], locked: set[int]) -> None:
        """Track since when rows have been locked, and report those that are locked for long."""
        now = self._clock()
        for object_id in ended & self._locked_since.keys():
            del self._locked_since[object_id]
        for object_id in locked:
            self._locked_since.setdefault(object_id, now)
        metrics.LOCKED.set(len(self._locked_since))
        long = sum(now - self._locked_since[object_id] >= LOCKED_SECONDS for object_id in locked)
        if long:
            await self._ledger.tell_of_locked(long)

    async def _come_back(self, locked: list[HeldObject]) -> None:
        """Put objects back into the queue after a while."""
        await asyncio.sleep(jittered(PAUSE_SECONDS))
        self._pipeline.answered.put_now(locked)

    def _row(self, held: HeldObject) -> Prediction:
        model, answer = held.model, held.answer
        if model is None or answer is None:
            raise AssertionError("an object reached the commit without a model or an answer")
        top = _top(model, answer)
        label, score = top[0]
        return Prediction(
            held.item.id, held.item.job, model.id, label, score, top, held.sha256, self._name, measures=held.measures
        )

    def _tried(self, held: HeldObject, candidate: CandidateAnswer) -> TrialPrediction:
        """Return what a candidate says of an object, or why it says nothing."""
        own = self._row(held)
        said = replace(own, model_id=candidate.trial.candidate.id, label="", score=0.0, top=())
        is_instead = own.model_id == said.model_id
        if candidate.answer is not None:
            top = _top(candidate.trial.candidate, candidate.answer)
            said = replace(said, label=top[0][0], score=top[0][1], top=top)
        if is_instead:
            seconds = (candidate.seconds, 0.0) if candidate.seconds else None
            return TrialPrediction(candidate.trial.id, said, seconds=seconds)
        seconds = (candidate.seconds, held.seconds) if candidate.seconds and held.seconds else None
        return TrialPrediction(
            candidate.trial.id, said, candidate.failure, own.label if candidate.trial.shadow else "",
            own.score if candidate.trial.shadow else 0.0, seconds,
        )  # fmt: skip


def _top(model: Model, answer: Answer) -> tuple[tuple[str, float], ...]:
    return tuple((model.labels[index], score) for index, score in answer.top)
