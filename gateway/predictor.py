"""Has TorchServe answer for single pictures that many people wait for, through the consumers' own balancer.

Each picture goes at once while a request is free; those that come while all are in use go together in the next one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sluice.domain import Model, Reason
from sluice.errors import Busy, ImageError
from sluice.images import pack
from sluice.inference import Answer, Balancer, Refusal

RETRY_SECONDS: Final = 5


@dataclass(eq=False)
class WaitingPicture:
    """One decoded picture and whoever waits for its answer."""

    model: Model
    pixels: NDArray[np.uint8]
    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Predictor:
    """Some requests to TorchServe at once; the admission bounds what waits for them."""

    def __init__(self, balancer: Balancer, requests: int, batch: int) -> None:
        self._balancer = balancer
        self._requests = requests
        self._batch = batch
        self._waiting: deque[WaitingPicture] = deque()
        self._came = asyncio.Event()

    async def run(self) -> None:
        """Answer until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._requests):
                group.create_task(self._keep_asking())

    @property
    def is_ready(self) -> bool:
        """Return whether any TorchServe answers."""
        return self._balancer.is_healthy

    async def predict(self, model: Model, pixels: NDArray[np.uint8]) -> Answer:
        """Return the model's answer; ImageError if it takes no such picture, Busy if no TorchServe answers."""
        self._balancer.offer([model])
        if not self._balancer.is_healthy:
            raise Busy(f"no prediction can be had for now: {self._balancer.why_not(model)}", RETRY_SECONDS)
        waiting = WaitingPicture(model, pixels)
        self._waiting.append(waiting)
        self._came.set()
        return await waiting.answer

    async def _keep_asking(self) -> None:
        while True:
            batch = self._take()
            if not batch:
                self._came.clear()
                await self._came.wait()
                continue
            await self._ask(batch)

    def _take(self) -> list[WaitingPicture]:
        """Take pictures of one model, first come first; whose sender went away is dropped."""
        batch: list[WaitingPicture] = []
        while self._waiting and len(batch) < self._batch:
            first = self._waiting[0]
            if batch and first.model.id != batch[0].model.id:
                break
            self._waiting.popleft()
            if not first.answer.done():
                batch.append(first)
        return batch

    async def _ask(self, batch: list[WaitingPicture]) -> None:
        model = batch[0].model
        try:
            outcomes = await self._balancer.predict(model, pack([each.pixels for each in batch]), len(batch))
        except BaseException:
            for each in batch:
                each.answer.cancel()
            raise
        for each, outcome in zip(batch, outcomes, strict=True):
            if each.answer.done():
                continue
            if isinstance(outcome, Answer):
                each.answer.set_result(outcome)
            elif isinstance(outcome, Refusal):
                each.answer.set_exception(ImageError(Reason.REJECTED_BY_MODEL, outcome.detail))
            else:
                why = self._balancer.why_back(model) or self._balancer.why_not(model) or "TorchServe gave no answer"
                each.answer.set_exception(Busy(f"no prediction can be had for now: {why}", RETRY_SECONDS))
