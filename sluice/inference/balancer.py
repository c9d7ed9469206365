"""Chooses the TorchServe endpoint for a batch, and handles batches that get no prediction.

There are three causes. The endpoint is full, or its model has no worker: wait, and send fewer at once. The endpoint is
down (refused, another model, nonsense): another endpoint gets the batch. The batch fails (an error of the model, a dead
worker, no answer in time): `evidence` decides whether the batch or the endpoint is to blame, and the batch is halved
until the failing image is alone. Only this last case is an object's own fault.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import Final

from sluice.domain import Model
from sluice.errors import BatchRefused, EndpointDown, InferenceError, Overloaded, TimedOut
from sluice.images import pack, unpack
from sluice.inference.client import Endpoint
from sluice.inference.evidence import BatchDecision, BatchEvidence, SentBatch
from sluice.inference.route import Route
from sluice.inference.routes import RouteTable
from sluice.inference.wire import Answer, Explanation, Refusal
from sluice.telemetry import get_logger, metrics

log = get_logger()

Outcome = Answer | Refusal | None
"""The result for an image; None: no result for now, so its object goes back to the producer."""

GIVE_UP_LEAST: Final = 1.0
"""Minimum patience, even with a model that has been silent for long, so that the loop doesn't spin."""
RESTART_SECONDS: Final = 120.0
"""How long a batch waits for its dead worker to load the model again, if no other address is up."""
PAUSE_SHARE: Final = 0.3
"""The random part of a failure's cost to wait before a retry, so that two suspects don't always share a worker."""


class Balancer(RouteTable):
    """Gets batches predicted by any endpoint that can."""

    def why_back(self, model: Model) -> str:
        """Return why a model's pictures go back; empty if other models have the same trouble."""
        if not self.is_healthy:
            return ""
        return self.why_not(model) or self._said.get(model.id, "")

    async def predict(self, model: Model, body: bytes | bytearray, count: int) -> list[Outcome]:
        """Return an outcome for each of the `count` images packed in `body`, however long that takes."""
        return await self._judge(model, body, BatchEvidence(count))

    async def explain(self, model: Model, body: bytes | bytearray) -> Explanation | Refusal:
        """Return what the one image in `body` was recognised by, or raise an InferenceError.

        Not retried: a person waits, and can simply ask again.
        """
        self._want(model)
        routes = [route for route in self._routes_of(model) if route.can_take(self._clock())]
        if not routes:
            raise EndpointDown(self.why_not(model) or "TorchServe is full")
        route = min(routes, key=lambda route: self._busy(route.endpoint))
        route.outstanding += 1
        try:
            call = partial(self._client.explain, route.endpoint, model, body)
            return await asyncio.get_running_loop().run_in_executor(self._requests, call)
        finally:
            route.outstanding -= 1
            self._notify()

    async def _judge(self, model: Model, body: bytes | bytearray, evidence: BatchEvidence) -> list[Outcome]:
        """Ask until there are predictions, or until the cause of failure is known."""
        self._silent.setdefault(model.id, self._clock())
        give_up_least = self._clock() + GIVE_UP_LEAST
        turns = 0
        while turns < self._patience.turns:
            route = await self._choose(model, evidence, give_up_least)
            if route is None:
                break
            try:
                outcomes = await self._try(route, body, evidence)
            except Overloaded:
                metrics.OVERLOADED.inc()
                route.overloaded(self._clock())
                continue
            if outcomes is not None:
                return outcomes
            turns += 1
            await self._prove(model, evidence)
            match evidence.decision(self._routes_of(model)):
                case BatchDecision.HALVE:
                    return await self._halve(model, body, evidence)
                case BatchDecision.GUILTY:
                    return [Refusal(evidence.said)]
        self._said[model.id] = evidence.said
        return [None] * evidence.count

    async def _try(self, route: Route, body: bytes | bytearray, evidence: BatchEvidence) -> list[Outcome] | None:
        """Send a batch once; return None if it got no predictions."""
        sent = SentBatch(route, self._clock())
        try:
            seconds = evidence.seconds(self._settings.torchserve_timeout)
            answers = await self._ask(route, body, evidence.count, seconds)
        except (BatchRefused, TimedOut) as error:
            self._suspect(sent, evidence, error)
            return None
        except EndpointDown as error:
            self._down(route, str(error), is_outage=True)
            return None
        if evidence.count > 1:
            return await self._ask_alone_again(route.model, body, answers)
        if isinstance(answers[0], Answer):
            return [answers[0]]
        self._suspect(sent, evidence, BatchRefused(answers[0].detail))
        return None

    def _suspect(self, sent: SentBatch, evidence: BatchEvidence, error: InferenceError) -> None:
        """Record that a batch failed. Its endpoint is probed, and stays up while other batches get predictions."""
        route = sent.route
        log.warning(
            "a batch fails",
            endpoint=route.endpoint.url,
            model=route.model.name,
            images=evidence.count,
            why=str(error),
        )
        if isinstance(error, TimedOut) and route.last_success < sent.at:
            self._down(route, str(error), is_outage=False)
        evidence.add(sent, error)
        route.doubted(self._clock(), evidence.wanted)
        self._notify()

    async def _prove(self, model: Model, evidence: BatchEvidence) -> None:
        """Wait until each endpoint where the batch failed has proved up or down; its worker may have to restart."""
        began = self._clock()
        while not evidence.look(routes := self._routes_of(model)):
            is_elsewhere = any(route.is_up and not evidence.failures_on(route) for route in routes)
            patience = self._settings.torchserve_patience if is_elsewhere else RESTART_SECONDS
            left = began + patience - self._clock()
            if left <= 0:
                return
            await self._wait(left)
        await asyncio.sleep(random.uniform(0, PAUSE_SHARE) * (self._clock() - began))  # noqa: S311 - no secret

    async def _halve(self, model: Model, body: bytes | bytearray, evidence: BatchEvidence) -> list[Outcome]:
        """Find out which half of a batch has the fault."""
        rows = unpack(body)
        middle = evidence.count // 2
        first, second = pack(list(rows[:middle])), pack(list(rows[middle:]))
        del rows, body
        return [
            *await self._judge(model, first, evidence.of_part(middle)),
            *await self._judge(model, second, evidence.of_part(evidence.count - middle)),
        ]

    async def _ask_alone_again(
        self, model: Model, body: bytes | bytearray, answers: list[Answer | Refusal]
    ) -> list[Outcome]:
        """Ask again for an image that failed alone: it counts as bad only after failing in a batch of its own."""
        outcomes: list[Outcome] = list(answers)
        for number, answer in enumerate(answers):
            if isinstance(answer, Refusal):
                alone = pack([unpack(body)[number]])
                outcomes[number] = (await self.predict(model, alone, 1))[0]
        return outcomes

    async def _choose(self, model: Model, evidence: BatchEvidence, give_up_least: float) -> Route | None:
        """Wait for a route that can take a batch, least busy endpoint first; return None when patience ends."""
        while True:
            self._want(model)
            now = self._clock()
            routes = self._routes_of(model)
            least = min((evidence.failures_on(route) for route in routes if route.is_up), default=0)
            ready = [route for route in routes if route.can_take(now) and evidence.failures_on(route) == least]
            if ready:
                return min(ready, key=lambda route: (self._busy(route.endpoint), route.last_success))
            silent = self._silent.setdefault(model.id, now)
            give_up = max(silent + self._settings.torchserve_patience, give_up_least)
            if now >= give_up and not any(route.outstanding for route in routes):
                # An endpoint that is full for so long counts as down: probes find out when to ask for work again.
                for route in routes:
                    why = route.why or "full for longer than SLUICE_TORCHSERVE_PATIENCE"
                    self._down(route, why, is_outage=False)
                return None
            soonest = min((route.not_before for route in routes if route.not_before > now), default=now + 1.0)
            await self._wait(min(soonest, max(give_up, now + 0.05)) - now)

    def _busy(self, endpoint: Endpoint) -> int:
        return sum(route.outstanding for route in self._routes.values() if route.endpoint == endpoint)


class SideBalancer(Balancer):
    """Gets candidates' batches predicted beside another balancer, which exports the endpoints.

    It has its own threads and routes: a candidate that hangs keeps no other model's request waiting here.
    """

    def _tell_endpoints(self) -> None:
        """Export nothing."""
