"""How single pictures go to TorchServe: at once while a request is free, together while none is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.predictor import Predictor
from sluice.domain import Model
from sluice.errors import Busy, ImageError
from sluice.images import unpack
from sluice.inference import Answer, Balancer, Refusal

PATIENCE: float = 20.0


def model(number: int = 1) -> Model:
    return Model(number, f"m{number}", "1.0", "d" * 64, {}, ["a", "b"], live=True)


def pixels(value: int) -> NDArray[np.uint8]:
    return np.full((8, 8, 3), value, np.uint8)


class FakeBalancer:
    """Answers with the picture's own first byte as the score; waits for `gate` where a test wants requests to last."""

    def __init__(self) -> None:
        self.is_healthy = True
        self.batches: list[tuple[int, int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.outcome: Callable[[int], Answer | Refusal | None] = lambda value: Answer(((0, value / 255),))

    def offer(self, models: list[Model]) -> None:
        del models

    def why_not(self, model: Model | None = None) -> str:
        del model
        return "nobody is there"

    def why_back(self, model: Model) -> str:
        del model
        return ""

    async def predict(self, model: Model, body: bytes | bytearray, count: int) -> list[Answer | Refusal | None]:
        self.batches.append((model.id, count))
        self.asked.set()
        rows = unpack(body)
        await self.gate.wait()
        return [self.outcome(int(rows[number][0, 0, 0])) for number in range(count)]


def run(test: Callable[[FakeBalancer, Predictor], Awaitable[None]], requests: int = 1, batch: int = 8) -> None:
    """Run a test beside a predictor."""

    async def all_of_it() -> None:
        balancer = FakeBalancer()
        predictor = Predictor(cast("Balancer", balancer), requests, batch)
        working = asyncio.create_task(predictor.run())
        try:
            async with asyncio.timeout(PATIENCE):
                await test(balancer, predictor)
        finally:
            working.cancel()

    asyncio.run(all_of_it())


def test_each_picture_gets_its_own_answer() -> None:
    async def test(balancer: FakeBalancer, predictor: Predictor) -> None:
        balancer.gate.clear()
        asked = [asyncio.create_task(predictor.predict(model(), pixels(value))) for value in range(10)]
        await balancer.asked.wait()
        balancer.gate.set()
        answers = [await each for each in asked]
        assert [answer.top[0][1] for answer in answers] == [value / 255 for value in range(10)]

    run(test)


def test_what_comes_while_all_requests_are_in_use_goes_together() -> None:
    async def test(balancer: FakeBalancer, predictor: Predictor) -> None:
        balancer.gate.clear()
        first = asyncio.create_task(predictor.predict(model(), pixels(1)))
        await balancer.asked.wait()
        others = [asyncio.create_task(predictor.predict(model(), pixels(value))) for value in range(2, 8)]
        await asyncio.sleep(0)
        balancer.gate.set()
        await asyncio.gather(first, *others)
        assert balancer.batches == [(1, 1), (1, 6)]

    run(test)


def test_a_request_has_one_model_and_no_more_pictures_than_a_batch() -> None:
    async def test(balancer: FakeBalancer, predictor: Predictor) -> None:
        balancer.gate.clear()
        kinds = [1, 1, 1, 2, 1]
        asked = [asyncio.create_task(predictor.predict(model(kind), pixels(kind))) for kind in kinds]
        await balancer.asked.wait()
        balancer.gate.set()
        await asyncio.gather(*asked)
        assert balancer.batches == [(1, 2), (1, 1), (2, 1), (1, 1)]

    run(test, batch=2)


def test_a_picture_whose_sender_went_away_is_not_sent() -> None:
    async def test(balancer: FakeBalancer, predictor: Predictor) -> None:
        balancer.gate.clear()
        first = asyncio.create_task(predictor.predict(model(), pixels(1)))
        await balancer.asked.wait()
        gone = asyncio.create_task(predictor.predict(model(), pixels(2)))
        await asyncio.sleep(0)
        gone.cancel()
        last = asyncio.create_task(predictor.predict(model(), pixels(3)))
        await asyncio.sleep(0)
        balancer.gate.set()
        await asyncio.gather(first, last)
        assert balancer.batches == [(1, 1), (1, 1)]

    run(test)


def test_a_picture_that_the_model_refuses_is_told_so_and_the_others_have_their_answers() -> None:
    async def test(balancer: FakeBalancer, predictor: Predictor) -> None:
        balancer.outcome = lambda value: Refusal("too odd") if value == 2 else Answer(((0, 1.0),))
        refused, answered = await asyncio.gather(
            predictor.predict(model(), pixels(2)), predictor.predict(model(), pixels(3)), return_exceptions=True
        )
        assert isinstance(refused, ImageError)
        assert refused.reason == "rejected_by_model"
        assert isinstance(answered, Answer)

    run(test)


def test_without_torchserve_the_sender_hears_at_once_when_to_come_back() -> None:
    async def test(balancer: FakeBalancer, predictor: Predictor) -> None:
        balancer.is_healthy = False
        with pytest.raises(Busy, match="nobody is there"):
            await predictor.predict(model(), pixels(1))
        balancer.is_healthy = True
        balancer.outcome = lambda _: None
        with pytest.raises(Busy, match="no prediction can be had for now"):
            await predictor.predict(model(), pixels(1))

    run(test)
