"""What the balancer's metrics say of endpoints."""

from __future__ import annotations

import asyncio

from prometheus_client import REGISTRY

from sluice.inference.client import Endpoint
from sluice.telemetry import metrics
from tests.support.consumer_fakes import FakeTorchServe, good, model
from tests.unit.test_inference_balancer import LOOKS_OFTEN, balancing, images, labels, until


def test_probes_are_not_counted_among_the_batches() -> None:
    async def scene() -> None:
        fake = FakeTorchServe(answer=lambda _: (503, {}))
        async with balancing(fake) as balancer:
            balancer.offer([model()])
            await until(lambda: count("probes", fake, "overloaded") > 0)
            fake.answer = good
            assert labels(await balancer.predict(model(), *images(1, 2))) == [1, 2]
        assert count("requests", fake, "overloaded") == 0
        assert count("requests", fake, "ok") == 1

    def count(what: str, fake: FakeTorchServe, outcome: str) -> float:
        sample = {"endpoint": fake.url, "outcome": outcome}
        return REGISTRY.get_sample_value(f"sluice_torchserve_{what}_total", sample) or 0

    asyncio.run(scene())


def shown() -> dict[str, float]:
    """Return the metric of each endpoint."""
    (family,) = [family for family in REGISTRY.collect() if family.name == "sluice_endpoint_up"]
    return {sample.labels["endpoint"]: sample.value for sample in family.samples}


def test_the_metric_shows_what_never_came_up_and_forgets_what_is_gone() -> None:
    """A consumer that never found a TorchServe must show that none is up; one without a model can't tell."""

    async def scene() -> None:
        name, fake, found = "http://nowhere:8080", FakeTorchServe(), list[Endpoint]()
        metrics.ENDPOINT_UP.clear()  # an earlier test's endpoint may have had the same port

        def look(_: str) -> list[Endpoint]:
            if not found:
                raise OSError(-2, "Name or service not known")
            return list(found)

        with fake.running():
            async with balancing(urls=(name,), look_up=look, patience=LOOKS_OFTEN) as balancer:
                assert shown()[name] == 0
                found.append(Endpoint(fake.url, "torchserve"))
                await until(lambda: name not in shown())
                assert fake.url not in shown()
                balancer.offer([model()])
                assert shown()[fake.url] == 0
                await until(lambda: shown()[fake.url] == 1)
                late = next(iter(balancer._routes.values()))
                found[:] = [Endpoint("http://127.0.0.1:9", "torchserve")]
                await until(lambda: fake.url not in shown())
                balancer._up(late)
                assert fake.url not in shown()
                assert shown()["http://127.0.0.1:9"] == 0

    asyncio.run(scene())
