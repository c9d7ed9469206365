"""The stage that asks trials' candidates: beside the model (shadow), or before it and instead of it (canary).

An object never suffers from a candidate. If that doesn't answer in time, or refuses a picture, the object goes on to
where it would be without a trial, and the failure becomes a row. After a batch without any answer the candidate isn't
asked for a while: then objects wait no longer for it than for the queue.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Final

from consumer.held import CandidateAnswer, HeldObject, RunningTrial
from consumer.pipeline import Pipeline
from sluice.images import pack
from sluice.inference import Answer, Outcome, Refusal, SideBalancer
from sluice.settings import Settings
from sluice.telemetry import get_logger

log = get_logger()

GATHER_SECONDS: Final = 5.0
"""A share's batches fill slowly, and many small ones would cost TorchServe more than the share does."""
LOOK_SECONDS: Final = 0.05
"""At the end of the work nothing else comes, and nothing tells of that."""
ANSWER_SECONDS: Final = 10.0
REST_SECONDS: Final = 10.0


class TrialStage:
    """Asks candidates, a few batches at once; a batch has one candidate."""

    def __init__(self, settings: Settings, pipeline: Pipeline, balancer: SideBalancer) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._balancer = balancer
        self._gathering = asyncio.Lock()
        self._rests_until: dict[int, float] = {}

    async def run(self) -> None:
        """Ask until cancelled; without trials nothing runs but this wait."""
        await self._pipeline.tried.wait_filled()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._balancer.run())
            for _ in range(self._settings.requests_in_flight):
                group.create_task(self._keep_trying())

    def close(self) -> None:
        """Release the threads."""
        self._balancer.close()

    async def _keep_trying(self) -> None:
        while True:
            async with self._gathering:
                batch, trial = await self._gather()
            await self._ask(trial, batch)
            self._pass_on(batch)

    async def _gather(self) -> tuple[list[HeldObject], RunningTrial]:
        """Take objects of one trial until the batch is full, no more are coming, or the wait is over."""
        most = self._settings.batch
        batch = await self._pipeline.tried.take(1)
        trial = _candidate(batch[0]).trial
        deadline = time.monotonic() + GATHER_SECONDS
        while True:
            batch += self._pipeline.tried.take_now(most - len(batch), lambda held: _candidate(held).trial is trial)
            left = deadline - time.monotonic()
            is_all = len(self._pipeline.in_flight) <= self._pipeline.trying
            if len(batch) >= most or left <= 0 or len(self._pipeline.tried) or is_all:
                return batch, trial
            await self._pipeline.tried.wait(min(left, LOOK_SECONDS))

    async def _ask(self, trial: RunningTrial, batch: list[HeldObject]) -> None:
        """Set what the candidate says of each content, or why it says nothing."""
        asked = {id(each): (each, held.sha256) for held in batch if (each := _candidate(held)).is_open}
        contents = list(asked.values())
        if not contents:
            return
        now = time.monotonic()
        if now < self._rests_until.get(trial.id, 0.0):
            for candidate, _ in contents:
                _fail(candidate, "it wasn't asked: it gave no answers a moment ago")
            return
        body = pack([candidate.pixels for candidate, _ in contents if candidate.pixels is not None])
        outcomes: list[Outcome] = [None] * len(contents)
        with suppress(TimeoutError):  # the failures are told of below
            async with asyncio.timeout(ANSWER_SECONDS):
                outcomes = await self._balancer.predict(trial.candidate, body, len(contents))
        seconds = (time.monotonic() - now) / len(contents)
        why = self._balancer.why_not(trial.candidate) or f"no answer in {ANSWER_SECONDS:g} s"
        for (candidate, sha256), outcome in zip(contents, outcomes, strict=True):
            if isinstance(outcome, Answer):
                candidate.answer, candidate.seconds, candidate.pixels = outcome, seconds, None
                self._pipeline.cache.keep(trial.candidate.id, sha256, outcome)
            else:
                _fail(candidate, outcome.detail if isinstance(outcome, Refusal) else why)
        if not any(isinstance(outcome, Answer | Refusal) for outcome in outcomes):
            log.warning("a trial's candidate gives no answers", trial=trial.id, model=trial.candidate.name, why=why)
            self._rests_until[trial.id] = time.monotonic() + REST_SECONDS

    def _pass_on(self, batch: list[HeldObject]) -> None:
        """Send objects to where they go without a trial; what a canary answers is answered."""
        self._pipeline.trying -= len(batch)
        answered, unanswered = list[HeldObject](), list[HeldObject]()
        for held in batch:
            candidate = _candidate(held)
            if held.answer is None and candidate.answer is not None:
                held.answer, held.model, held.pixels = candidate.answer, candidate.trial.candidate, None
            (unanswered if held.answer is None else answered).append(held)
        self._pipeline.answered.put_now(answered)
        # Without waiting for room: what empties that queue may wait for room in this stage's.
        self._pipeline.decoded.put_now(unanswered)


def _candidate(held: HeldObject) -> CandidateAnswer:
    if held.candidate is None:
        raise AssertionError("an object is tried that is in no trial")
    return held.candidate


def _fail(candidate: CandidateAnswer, why: str) -> None:
    candidate.failure, candidate.pixels = why or "no answer", None
