"""The balancer with a model that fails on some pictures: by raising, by losing its worker, by hanging."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sluice.inference import Refusal
from sluice.inference.routes import RoutePatience
from tests.support.consumer_fakes import FakeTorchServe, good, model
from tests.unit.test_inference_balancer import balancing, images, labels

Said = tuple[int, Any]

RAISED = 503, {"code": 503, "type": "InternalServerException", "message": "Prediction failed"}
DIED = 500, {"code": 500, "type": "InternalServerException", "message": "Worker died."}
NO_MEMORY = 507, {"code": 507, "type": "InternalServerException", "message": "Out of resources"}
FULL = 503, {"code": 503, "type": "ServiceUnavailableException", "message": 'Model "fake" has no worker to serve …'}
POISON = range(200, 256)


def is_poisoned(batch: NDArray[np.uint8]) -> bool:
    return any(image[0, 0, 0] in POISON for image in batch)


def fails_on_poison(said: Said) -> Callable[[NDArray[np.uint8]], Said]:
    return lambda batch: said if is_poisoned(batch) else good(batch)


@pytest.mark.parametrize("said", [RAISED, DIED])
def test_culprits_are_found_and_cost_a_bounded_number_of_requests(said: Said) -> None:
    """32 pictures, three bad ones: halving down to each of them, and their tries alone. Probes are counted too."""

    async def scene() -> None:
        fake = FakeTorchServe(answer=fails_on_poison(said))
        reds = [*range(10), 201, *range(11, 25), 202, 203, *range(27, 32)]
        async with balancing(fake) as balancer:
            outcomes = await balancer.predict(model(), *images(*reds))
        assert labels(outcomes) == ["refused" if red in POISON else red for red in reds]
        (one, *_) = (outcome for outcome in outcomes if isinstance(outcome, Refusal))
        assert one.detail == f"answers {said[0]}: {said[1]['message']}"
        assert len([size for size in fake.seen if size > 1]) <= 3 * 2 * 5

    asyncio.run(scene())


def test_one_culprit_costs_two_requests_a_halving_and_one_more_try() -> None:
    async def scene() -> None:
        asked = list[int]()

        def answer(batch: NDArray[np.uint8]) -> Said:
            # Probes are black.
            if batch.any():
                asked.append(len(batch))
            return RAISED if is_poisoned(batch) else good(batch)

        async with balancing(FakeTorchServe(answer=answer)) as balancer:
            await balancer.predict(model(), *images(*range(1, 32), 222))
        assert asked == [32, 16, 16, 8, 8, 4, 4, 2, 2, 1, 1, 1]

    asyncio.run(scene())


def test_with_two_addresses_it_must_fail_on_both() -> None:
    """An address with another build of the model may fail where the other doesn't."""

    async def scene() -> None:
        picky, calm = FakeTorchServe(answer=fails_on_poison(RAISED)), FakeTorchServe()
        async with balancing(picky, calm) as balancer:
            assert labels(await balancer.predict(model(), *images(1, 201))) == [1, 201]
            calm.answer = fails_on_poison(DIED)
            picky.seen.clear()
            calm.seen.clear()
            assert labels(await balancer.predict(model(), *images(1, 201))) == [1, "refused"]
            assert picky.seen.count(1)
            assert calm.seen.count(1)

    asyncio.run(scene())


def test_a_full_queue_is_waited_for_whatever_comes_back_meanwhile() -> None:
    """I5: the probe succeeds, the batch finds the queue full repeatedly, and is neither halved nor blamed."""

    async def scene() -> None:
        left = [4]

        def answer(batch: NDArray[np.uint8]) -> Said:
            if batch.any() and left[0]:
                left[0] -= 1
                return FULL
            return good(batch)

        fake = FakeTorchServe(answer=answer)
        async with balancing(fake, torchserve_patience=60.0) as balancer:
            assert labels(await balancer.predict(model(), *images(1))) == [1]
        assert not left[0]

    asyncio.run(scene())


@pytest.mark.parametrize("said", [RAISED, DIED, NO_MEMORY])
def test_a_model_that_fails_on_everything_condemns_nothing_and_says_what_it_answers(said: Said) -> None:
    async def scene() -> None:
        fake = FakeTorchServe()
        async with balancing(fake, torchserve_patience=0.5) as balancer:
            assert labels(await balancer.predict(model(), *images(1))) == [1]
            fake.answer = lambda _: said
            assert labels(await balancer.predict(model(), *images(1))) == [None]
            assert labels(await balancer.predict(model(), *images(1, 2))) == [None, None]
            assert not balancer.is_healthy
            assert f"answers {said[0]}: {said[1]['message']}" in balancer.why_not()

    asyncio.run(scene())


def test_a_lack_of_memory_makes_batches_smaller_and_condemns_nothing() -> None:
    async def scene() -> None:
        fake = FakeTorchServe(answer=lambda batch: good(batch) if len(batch) < 3 else NO_MEMORY)
        async with balancing(fake) as balancer:
            assert labels(await balancer.predict(model(), *images(*range(8)))) == list(range(8))
            fake.answer = fails_on_poison(NO_MEMORY)
            assert labels(await balancer.predict(model(), *images(1, 201))) == [1, None]

    asyncio.run(scene())


def test_a_restart_of_the_worker_outlasts_patience_and_nobody_else_is_blamed() -> None:
    """While the model loads again, requests wait in TorchServe's queue: they are late, and so is the probe."""
    back_at = [0.0]

    def answer(batch: NDArray[np.uint8]) -> Said:
        time.sleep(max(0.0, back_at[0] - time.monotonic()))
        if is_poisoned(batch):
            back_at[0] = time.monotonic() + 0.6
            return DIED
        return good(batch)

    async def scene() -> None:
        async with balancing(
            FakeTorchServe(answer=answer),
            patience=RoutePatience(probe_timeout=0.1),
            torchserve_patience=0.2,
            torchserve_timeout=20.0,
        ) as balancer:
            culprit, healthy = await asyncio.gather(
                balancer.predict(model(), *images(1, 2, 201, 4)), balancer.predict(model(), *images(5, 6))
            )
            assert labels(culprit) == [1, 2, "refused", 4]
            assert set(labels(healthy)) <= {5, 6, None}

    asyncio.run(scene())


def test_a_hang_is_halved_and_condemned_by_torchserves_own_word() -> None:
    """The consumer's timeout comes first; then the halves get more time, and TorchServe says which worker it ended."""

    def answer(batch: NDArray[np.uint8]) -> Said:
        if is_poisoned(batch):
            time.sleep(0.8)
            return DIED
        return good(batch)

    async def scene() -> None:
        async with balancing(FakeTorchServe(answer=answer), torchserve_timeout=0.5) as balancer:
            assert labels(await balancer.predict(model(), *images(1, 201, 3))) == [1, "refused", 3]

    asyncio.run(scene())


def test_a_batch_that_is_late_takes_no_endpoint_down_whose_predictions_come_back() -> None:
    async def scene() -> None:
        def answer(batch: NDArray[np.uint8]) -> Said:
            if is_poisoned(batch):
                time.sleep(2.0)
            return good(batch)

        patience = RoutePatience(turns=2)
        async with balancing(FakeTorchServe(answer=answer), patience=patience, torchserve_timeout=0.5) as balancer:
            assert labels(await balancer.predict(model(), *images(1))) == [1]
            (route,) = balancer._routes.values()
            late = asyncio.create_task(balancer.predict(model(), *images(201)))
            while not late.done():
                assert labels(await balancer.predict(model(), *images(1, 2))) == [1, 2]
                assert route.is_up
            assert labels(await late) == [None], "no answer never condemns"

    asyncio.run(scene())


def test_why_one_models_pictures_go_back_is_said_while_another_predicts() -> None:
    async def scene() -> None:
        works, fails = model(1), model(2, digest="e" * 64)
        fake = FakeTorchServe()
        async with balancing(fake, torchserve_patience=0.5) as balancer:
            assert labels(await balancer.predict(works, *images(1))) == [1]
            assert labels(await balancer.predict(fails, *images(1))) == [None]
            assert "answers with digest" in balancer.why_back(fails)
            assert balancer.why_back(works) == ""
            fake.answer = lambda _: DIED
            assert labels(await balancer.predict(works, *images(1))) == [None]
            assert balancer.why_back(fails) == "", "of all it is said once, by why_not"

    asyncio.run(scene())
