"""The balancer with endpoints that fail in every way that TorchServe was seen to fail, and in others."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sluice.errors import ConfigurationError
from sluice.images import pack
from sluice.inference import Answer, Balancer, Refusal, TorchServeClient, resolve
from sluice.inference.balancer import Outcome
from sluice.inference.client import Endpoint
from sluice.inference.routes import FORGET_SECONDS, PATIENCE, LookUp, RoutePatience
from sluice.settings import read_settings
from tests.support.consumer_fakes import FakeTorchServe, good, model

Said = tuple[int, Any]
LOOKS_OFTEN = RoutePatience(resolve_seconds=0.05, unresolved_seconds=0.05)


def images(*reds: int) -> tuple[bytearray, int]:
    """Return a packed batch; each image is one shade of red, which is its label."""
    return pack([np.full((32, 32, 3), red, np.uint8) for red in reds]), len(reds)


def labels(outcomes: list[Outcome]) -> list[int | str | None]:
    return [
        outcome.top[0][0] if isinstance(outcome, Answer) else "refused" if isinstance(outcome, Refusal) else None
        for outcome in outcomes
    ]


@asynccontextmanager
async def balancing(
    *fakes: FakeTorchServe,
    urls: tuple[str, ...] = (),
    look_up: LookUp = resolve.endpoints,
    patience: RoutePatience = PATIENCE,
    **others: object,
) -> AsyncIterator[Balancer]:
    async with AsyncExitStack() as stack:
        for fake in fakes:
            stack.enter_context(fake.running())
        given = {"torchserve_patience": 2.0, "torchserve_timeout": 1.0, **others}
        settings = read_settings(torchserve=(*urls, *(fake.url for fake in fakes)), **given)
        balancer = Balancer(settings, TorchServeClient(settings), look_up=look_up, patience=patience)
        running = asyncio.create_task(balancer.run())
        try:
            yield balancer
        finally:
            running.cancel()
            balancer.close()


def fails_until(count: int, said: Said) -> Callable[[NDArray[np.uint8]], Said]:
    """Answer batches of more than one image wrongly `count` times; answer probes (one image) correctly."""
    left = [count]

    def answer(images: NDArray[np.uint8]) -> Said:
        if len(images) > 1 and left[0]:
            left[0] -= 1
            return said
        return good(images)

    return answer


async def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def test_answers_come_in_the_order_of_the_images() -> None:
    async def scene() -> None:
        async with balancing(FakeTorchServe()) as balancer:
            assert labels(await balancer.predict(model(), *images(5, 3, 9))) == [5, 3, 9]

    asyncio.run(scene())


def test_requests_go_to_the_least_busy_endpoint() -> None:
    async def scene() -> None:
        slow, fast = FakeTorchServe(), FakeTorchServe()

        def slowly(images: NDArray[np.uint8]) -> Said:
            time.sleep(0.3 if len(images) > 1 else 0)
            return good(images)

        slow.answer = slowly
        async with balancing(slow, fast, requests_in_flight=3) as balancer:
            balancer.offer([model()])
            await until(lambda: all(route.is_up for route in balancer._routes.values()) and len(balancer._routes) == 2)

            async def work() -> None:
                for _ in range(6):
                    await balancer.predict(model(), *images(1, 2))

            await asyncio.gather(*(work() for _ in range(2)))
        assert fast.seen.count(2) > slow.seen.count(2) > 0

    asyncio.run(scene())


@pytest.mark.parametrize(
    "said",
    [
        (503, {}),
        (429, {}),
        (404, {}),
        (500, {}),
        (507, {}),
        (302, {}),
        (200, b"no json"),
        (200, b"[" * 100_000),
        (200, {"model": "x", "digest": "x", "predictions": []}),
        (200, {"model": "fake@1", "digest": "d" * 64, "predictions": [[[0, 1.0]]]}),
        (200, {"model": "fake@1", "digest": "d" * 64, "predictions": [[[999, 1.0]]] * 2}),
        (200, {"model": "fake@1", "digest": "d" * 64, "predictions": [[[0, 7.5]]] * 2}),
        (200, {"model": "fake@1", "digest": "d" * 64, "predictions": [[]] * 2}),
        (200, b"x" * 5_000_000),
    ],
)
def test_what_passes_costs_no_image_anything(said: Said) -> None:
    """I5: after two wrong answers and then right ones, every image has its prediction."""

    async def scene() -> None:
        async with balancing(FakeTorchServe(answer=fails_until(2, said))) as balancer:
            assert labels(await balancer.predict(model(), *images(5, 3))) == [5, 3]

    asyncio.run(scene())


def test_a_dead_endpoint_costs_no_image_anything() -> None:
    async def scene() -> None:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            dead = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with balancing(FakeTorchServe(), urls=(dead,)) as balancer:
            for red in range(5):
                assert labels(await balancer.predict(model(), *images(red, red + 1))) == [red, red + 1]
            assert balancer.is_healthy

    asyncio.run(scene())


def test_with_no_model_known_an_address_is_enough_and_needed() -> None:
    """Without a model a TorchServe can't be judged, but one without an address can't be asked."""

    async def scene() -> None:
        async with balancing(FakeTorchServe()) as balancer:
            await until(lambda: balancer.is_healthy)
        async with balancing(urls=("http://nowhere.invalid:8080",)) as balancer:
            assert not balancer.is_healthy
            assert "has no address" in balancer.why_not()

    asyncio.run(scene())


def test_a_wrong_row_of_one_model_ends_nothing() -> None:
    async def scene() -> None:
        async with balancing(FakeTorchServe()) as balancer:
            balancer.offer([replace(model(2), preprocessing={"crop": 32})])
            await until(lambda: "register it again" in balancer.why_not())
            assert labels(await balancer.predict(model(1), *images(1))) == [1]

    asyncio.run(scene())


def test_an_endpoint_that_returns_is_used_within_seconds() -> None:
    async def scene() -> None:
        fake = FakeTorchServe(answer=lambda _: (503, {}))
        async with balancing(fake, torchserve_patience=0.5) as balancer:
            assert labels(await balancer.predict(model(), *images(1, 2))) == [None, None]
            assert not balancer.is_healthy
            assert "503" in balancer.why_not()
            fake.answer = good
            await until(lambda: balancer.is_healthy)
            assert labels(await balancer.predict(model(), *images(1, 2))) == [1, 2]

    asyncio.run(scene())


@pytest.mark.parametrize("status", [400, 413, 500])
def test_a_poisonous_image_stands_alone_in_the_end(status: int) -> None:
    """The whole batch is refused because of one image; the others get predictions, and it is refused twice, alone."""
    alone: list[int] = []

    def answer(images: NDArray[np.uint8]) -> Said:
        if any(image[0, 0, 0] == 66 for image in images):
            alone.extend([66] if len(images) == 1 else [])
            return status, {}
        return good(images)

    async def scene() -> None:
        async with balancing(FakeTorchServe(answer=answer)) as balancer:
            outcomes = await balancer.predict(model(), *images(1, 2, 3, 66, 5, 6, 7))
            assert labels(outcomes) == [1, 2, 3, "refused", 5, 6, 7]
            assert str(status) in str(outcomes[3])
            assert len(alone) == 2

    asyncio.run(scene())


def test_an_image_with_an_error_of_its_own_is_asked_for_alone_before_it_is_believed() -> None:
    calm = [False]

    def answer(images: NDArray[np.uint8]) -> Said:
        status, said = good(images)
        for number, image in enumerate(images):
            if image[0, 0, 0] == 66 or (image[0, 0, 0] == 77 and len(images) > 1 and not calm[0]):
                said["predictions"][number] = {"error": "not finite"}
        return status, said

    async def scene() -> None:
        async with balancing(FakeTorchServe(answer=answer)) as balancer:
            assert labels(await balancer.predict(model(), *images(66, 2, 77))) == ["refused", 2, 77]

    asyncio.run(scene())


def test_an_endpoint_that_refuses_all_is_down_and_no_image_is_to_blame() -> None:
    """I5: a broken handler answers 500 to the probe too, so no image is at fault."""

    async def scene() -> None:
        async with balancing(FakeTorchServe(answer=lambda _: (500, {})), torchserve_patience=0.5) as balancer:
            assert labels(await balancer.predict(model(), *images(1))) == [None]
            assert labels(await balancer.predict(model(), *images(1, 2))) == [None, None]

    asyncio.run(scene())


def test_another_archive_is_never_believed(capsys: pytest.CaptureFixture[str]) -> None:
    async def scene() -> None:
        fake = FakeTorchServe(answer=lambda images: good(images, digest="e" * 64))
        async with balancing(fake, torchserve_patience=0.3) as balancer:
            assert labels(await balancer.predict(model(), *images(1, 2))) == [None, None]

    asyncio.run(scene())
    assert "another archive" in capsys.readouterr().out


def test_a_hanging_endpoint_times_out() -> None:
    async def scene() -> None:
        hangs = FakeTorchServe()

        def hang(images: NDArray[np.uint8]) -> Said:
            time.sleep(1.5 if len(images) > 1 else 0)
            return good(images)

        hangs.answer = hang
        async with balancing(hangs, FakeTorchServe(), torchserve_timeout=0.4) as balancer:
            balancer.offer([model()])
            for _ in range(4):
                assert labels(await balancer.predict(model(), *images(1, 2))) == [1, 2]

    asyncio.run(scene())


def test_names_become_their_addresses() -> None:
    assert resolve.endpoints("http://127.0.0.1:8080/prefix/") == [
        Endpoint("http://127.0.0.1:8080/prefix", "127.0.0.1:8080")
    ]
    found = resolve.endpoints("https://localhost")
    assert {endpoint.host for endpoint in found} == {"localhost"}
    assert {endpoint.url for endpoint in found} <= {"https://127.0.0.1:443", "https://[::1]:443"}
    with pytest.raises(ConfigurationError, match="SLUICE_TORCHSERVE"):
        resolve.check("torchserve:8080")


def test_an_endpoint_that_leaves_the_name_is_asked_no_more() -> None:
    async def scene() -> None:
        old, new = FakeTorchServe(), FakeTorchServe()
        with old.running(), new.running():
            current = [old.url]

            def look(_: str) -> list[Endpoint]:
                return [Endpoint(url, "torchserve") for url in current]

            async with balancing(urls=("http://torchserve",), look_up=look, patience=LOOKS_OFTEN) as balancer:
                assert labels(await balancer.predict(model(), *images(1, 2))) == [1, 2]
                current[:] = [new.url]
                await until(lambda: {endpoint.url for endpoint, _ in balancer._routes} == {new.url})
                before = len(old.seen)
                assert labels(await balancer.predict(model(), *images(1, 2))) == [1, 2]
                assert len(old.seen) == before

    asyncio.run(scene())


def test_a_name_that_has_no_address_yet_is_looked_up_until_it_has() -> None:
    async def scene() -> None:
        fake = FakeTorchServe()
        with fake.running():
            found: list[Endpoint] = []

            def look(_: str) -> list[Endpoint]:
                if not found:
                    raise OSError(-2, "Name or service not known")
                return found

            async with balancing(urls=("http://torchserve:8080",), look_up=look) as balancer:
                balancer.offer([model()])
                await asyncio.sleep(0.1)
                assert "has no address" in balancer.why_not()
                found.append(Endpoint(fake.url, "torchserve"))
                await until(lambda: balancer.is_healthy)

    started = time.monotonic()
    asyncio.run(scene())
    assert time.monotonic() - started < 4


def test_models_that_nobody_names_or_requests_are_forgotten() -> None:
    """A process that runs for months meets many versions, and must not probe each of them to its end."""

    async def scene() -> None:
        now = [1000.0]
        with FakeTorchServe().running() as fake:
            balancer = Balancer(settings := read_settings(), TorchServeClient(settings), clock=lambda: now[0])
            balancer._resolved = {fake.url: resolve.endpoints(fake.url)}

            def known() -> set[int]:
                return {route.model.id for route in balancer._routes.values()}

            balancer.offer([model(1), model(2), model(3)])
            now[0] += FORGET_SECONDS
            balancer._want(model(2))
            next(route for route in balancer._routes.values() if route.model.id == 3).outstanding = 1
            now[0] += 1.0
            balancer.offer([model(4)])
            assert known() == {2, 3, 4}, "2 was requested lately, and 3 is at work"
            balancer._want(model(1))
            assert known() == {1, 2, 3, 4}
            for number in range(10, 60):
                now[0] += FORGET_SECONDS / 10
                balancer.offer([model(number)])
            assert len(known()) < 15
            balancer.close()

    asyncio.run(scene())
