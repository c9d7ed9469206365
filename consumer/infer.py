"""The stage that packs decoded images into batches and requests their predictions from TorchServe."""

from __future__ import annotations

import asyncio
import time

from consumer.held import HeldObject
from consumer.pipeline import Pipeline
from sluice.domain import Model, Reason
from sluice.images import pack
from sluice.inference import Answer, Balancer, Refusal
from sluice.settings import Settings
from sluice.telemetry import metrics


class InferStage:
    """Sends batches, a few at once; a batch has one model, because each model has its own address."""

    def __init__(self, settings: Settings, pipeline: Pipeline, balancer: Balancer) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._balancer = balancer
        self._gathering = asyncio.Lock()

    async def run(self) -> None:
        """Infer until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._settings.requests_in_flight):
                group.create_task(self._keep_inferring())

    async def _keep_inferring(self) -> None:
        while True:
            # Only one batch is filled at a time: two half batches cost TorchServe more than a full one.
            async with self._gathering:
                batch = await self._gather()
            await self.infer(batch)

    async def _gather(self) -> list[HeldObject]:
        """Take objects of one model until the batch is full, no more are coming, or the wait is over."""
        most = self._settings.batch
        batch = await self._pipeline.decoded.take(1)
        model = batch[0].item.model
        deadline = time.monotonic() + self._settings.batch_wait
        while True:
            batch += self._pipeline.decoded.take_now(most - len(batch), lambda held: held.item.model == model)
            left = deadline - time.monotonic()
            if len(batch) >= most or left <= 0 or len(self._pipeline.decoded) or not self._pipeline.more_is_coming:
                return batch
            await self._pipeline.decoded.wait(left)

    async def infer(self, batch: list[HeldObject]) -> None:
        """Pass on objects with an answer, fail those that were refused alone, and give back the rest."""
        started = time.perf_counter()
        outcomes = await self._balancer.predict(_model(batch), _packed(batch), len(batch))
        seconds = (time.perf_counter() - started) / len(batch)
        metrics.STAGE_SECONDS.labels(stage="request").observe(seconds)
        answered: list[HeldObject] = []
        refused: list[HeldObject] = []
        unanswered: list[HeldObject] = []
        for held, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Answer):
                held.answer, held.seconds = outcome, seconds
                answered.append(held)
                for follower in self._pipeline.cache.settle(held):
                    follower.answer, follower.candidate = outcome, held.candidate
                    answered.append(follower)
            elif isinstance(outcome, Refusal):
                held.fault = (Reason.REJECTED_BY_MODEL, outcome.detail)
                refused.append(held)
            else:
                unanswered.append(held)
        metrics.INFERRED.inc(len(batch) - len(unanswered) - len(refused))
        self._pipeline.in_flight.fail(refused)
        self._pipeline.in_flight.give_back(unanswered, self._balancer.why_back(_model(batch)))
        await self._pipeline.pass_on(answered)


def _model(batch: list[HeldObject]) -> Model:
    model = batch[0].model
    if model is None:
        raise AssertionError("an object was decoded without its model's preprocessing")
    return model


def _packed(batch: list[HeldObject]) -> bytes | bytearray:
    """Pack the images into one buffer, and free all other copies of them."""
    body = pack([held.pixels for held in batch if held.pixels is not None])
    for held in batch:
        held.pixels = None
    return body
