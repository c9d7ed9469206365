"""The routes to TorchServe: which endpoints exist, which of them are up, and single requests to one of them.

Endpoints that are down are probed with a blank image: only a prediction proves that the right model is loaded. Names
are resolved repeatedly, and routes follow their addresses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np

from sluice.domain import Model
from sluice.errors import BatchRefused, Exhausted, InferenceError, Overloaded, TimedOut
from sluice.images import Preprocessing, pack
from sluice.inference import resolve
from sluice.inference.client import Endpoint, TorchServeClient
from sluice.inference.lines import EndpointLines
from sluice.inference.route import Route
from sluice.inference.wire import Answer, Refusal
from sluice.settings import Settings
from sluice.telemetry import get_logger, metrics

log = get_logger()

PROBE_THREADS: Final = 4
FORGET_SECONDS: Final = 600.0
"""A model that nobody names or requests for so long isn't probed: whoever runs for months meets many versions."""


@dataclass(frozen=True, slots=True)
class RoutePatience:
    """How often names are resolved, how long a route may be idle, and how long it has to prove itself."""

    resolve_seconds: float = 5.0
    unresolved_seconds: float = 1.0
    """Like resolve_seconds, while a name has no address."""
    idle_seconds: float = 10.0
    """A route that is up but idle for so long is probed, since it may have died unnoticed."""
    wanted_seconds: float = 60.0
    """A model that was requested this recently is probed sooner."""
    probe_timeout: float = 5.0
    turns: int = 6
    """A batch without predictions after so many requests goes back: it isn't at fault, but others need their turn."""


PATIENCE: Final = RoutePatience()
LookUp = Callable[[str], list[Endpoint]]


class RouteTable:
    """Keeps the routes to all endpoints; they only come up while `run` is running."""

    def __init__(
        self,
        settings: Settings,
        client: TorchServeClient,
        clock: Callable[[], float] = time.monotonic,
        *,
        look_up: LookUp = resolve.endpoints,
        patience: RoutePatience = PATIENCE,
    ) -> None:
        for url in settings.torchserve:
            resolve.check(url)
        self._settings = settings
        self._client = client
        self._lines = EndpointLines(client)
        self._clock = clock
        self._look_up = look_up
        self._patience = patience
        self._routes: dict[tuple[Endpoint, int], Route] = {}
        self._resolved: dict[str, list[Endpoint]] = {}
        self._models: dict[int, Model] = {}
        self._named: dict[int, float] = {}
        self._wanted: dict[int, float] = {}
        self._silent: dict[int, float] = {}
        self._said: dict[int, str] = {}
        self._told: set[str] = set()
        self._changed = asyncio.Event()
        # One more thread than requests in flight, so that an object that is processed alone needn't wait for one.
        self._most = settings.requests_in_flight + 1
        self._requests = ThreadPoolExecutor(self._most, "request")
        self._probes = ThreadPoolExecutor(PROBE_THREADS, "probe")
        self._tell_endpoints()

    @property
    def is_healthy(self) -> bool:
        """Return whether any route returns predictions; if no model is known, whether there is any endpoint."""
        if not self._models:
            return any(self._resolved.values())
        return any(route.is_up for route in self._routes.values())

    def why_not(self, model: Model | None = None) -> str:
        """Describe, for a person, why there are no predictions: for one model, or for any."""
        if not self._routes:
            return (
                f"{', '.join(self._settings.torchserve)} has no address: no TorchServe is ready, or the name is wrong"
            )
        routes = self._routes.values() if model is None else self._routes_of(model)
        return "; ".join(sorted({_with_address(route) for route in routes if route.why}))

    def offer(self, models: Sequence[Model]) -> None:
        """Name models that may be requested, so that endpoints can be probed before any work arrives.

        Those that were neither named nor requested for long are forgotten.
        """
        now = self._clock()
        self._named |= {model.id: now for model in models}
        new = {model.id: model for model in models if model.id not in self._models}
        busy = {route.model.id for route in self._routes.values() if route.outstanding}
        old = [number for number in self._models if number not in busy and self._is_old(number, now)]
        for number in old:
            for known in (self._models, self._named, self._wanted, self._silent, self._said):
                known.pop(number, None)
        if new or old:
            self._models |= new
            self._make_routes()

    async def run(self) -> None:
        """Resolve names and probe, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_resolving())
            group.create_task(self._keep_probing(group))

    def close(self) -> None:
        """Release the threads and connections; a thread that waits for an answer ends with it."""
        self._lines.close()
        self._requests.shutdown(wait=False, cancel_futures=True)
        self._probes.shutdown(wait=False, cancel_futures=True)

    def _is_old(self, number: int, now: float) -> bool:
        return now - max(self._named.get(number, 0.0), self._wanted.get(number, 0.0)) > FORGET_SECONDS

    def _routes_of(self, model: Model) -> list[Route]:
        return [route for route in self._routes.values() if route.model.id == model.id]

    async def _ask(
        self, route: Route, body: bytes | bytearray, count: int, seconds: float | None = None, *, is_probe: bool = False
    ) -> list[Answer | Refusal]:
        """Send one request, and record its outcome on the route."""
        outcome = "ok"
        threads = self._probes if is_probe else self._requests
        counter = metrics.TORCHSERVE_PROBES if is_probe else metrics.TORCHSERVE_REQUESTS
        route.outstanding += 1
        try:
            answers = await self._lines.predict(route.endpoint, route.model, body, count, threads, seconds)
        except InferenceError as error:
            outcome = {Overloaded: "overloaded", BatchRefused: "refused", Exhausted: "refused"}.get(type(error), "down")
            raise
        finally:
            route.outstanding -= 1
            counter.labels(endpoint=route.endpoint.url, outcome=outcome).inc()
            self._notify()
        if any(isinstance(answer, Answer) for answer in answers):
            self._up(route)
        return answers

    def _up(self, route: Route) -> None:
        if not route.is_up:
            log.info("endpoint returns predictions", endpoint=route.endpoint.url, model=route.model.name)
        route.answered(self._clock())
        self._silent.pop(route.model.id, None)
        self._tell_endpoints()
        self._notify()

    def _down(self, route: Route, why: str, *, is_outage: bool) -> None:
        if route.is_up:
            log.warning("endpoint returns no predictions", endpoint=route.endpoint.url, model=route.model.name, why=why)
        route.failed(self._clock(), why, is_outage=is_outage)
        self._tell_endpoints()
        self._notify()

    def _tell_endpoints(self) -> None:
        """Export which endpoints are up; a name without an address is exported itself, as down."""
        up = {url: False for url in self._settings.torchserve if not self._resolved.get(url)}
        for route in self._routes.values():
            up[route.endpoint.url] = up.get(route.endpoint.url, False) or route.is_up
        for gone in self._told - up.keys():
            metrics.ENDPOINT_UP.remove(gone)
        for url, is_up in up.items():
            metrics.ENDPOINT_UP.labels(endpoint=url).set(is_up)
        self._told = set(up)

    def _want(self, model: Model) -> None:
        self._wanted[model.id] = self._clock()
        if model.id not in self._models:
            self.offer([model])

    async def _keep_resolving(self) -> None:
        """Follow the names' addresses; a name that can't be resolved now keeps its earlier addresses."""
        unknown: dict[str, str] = {}
        while True:
            for url in self._settings.torchserve:
                try:
                    found = await asyncio.get_running_loop().run_in_executor(self._probes, self._look_up, url)
                except OSError as error:
                    if str(error) != unknown.get(url):
                        log.warning("a TorchServe address can't be resolved", url=url, why=str(error))
                    unknown[url] = str(error)
                    continue
                unknown.pop(url, None)
                if found != self._resolved.get(url):
                    log.info("TorchServe endpoints", url=url, endpoints=[endpoint.url for endpoint in found])
                    self._resolved[url] = found
                    self._make_routes()
            await asyncio.sleep(self._patience.unresolved_seconds if unknown else self._patience.resolve_seconds)

    def _make_routes(self) -> None:
        """Keep one route for each model and endpoint, and drop those of removed endpoints."""
        current = dict.fromkeys(endpoint for found in self._resolved.values() for endpoint in found)
        self._routes = {
            (endpoint, model.id): self._routes.get((endpoint, model.id)) or Route(endpoint, model, self._most)
            for endpoint in current
            for model in self._models.values()
        }
        self._tell_endpoints()
        self._notify()

    async def _keep_probing(self, group: asyncio.TaskGroup) -> None:
        """Probe routes that are down, and routes that were idle for a while, since they may have died unnoticed."""
        while True:
            now = self._clock()
            soonest = now + self._patience.idle_seconds
            for route in self._routes.values():
                due = route.next_look(self._patience.idle_seconds)
                if due is None:
                    continue
                if due <= now:
                    route.is_probed = True
                    group.create_task(self._probe(route))
                else:
                    soonest = min(soonest, due)
            await self._wait(soonest - now)

    async def _probe(self, route: Route) -> None:
        """Request the prediction of one blank image: only this proves that the right model is loaded."""
        is_outage = is_late = False
        successes = route.successes
        try:
            side = Preprocessing.from_dict(route.model.preprocessing).crop
            body = pack([np.zeros((side, side, 3), np.uint8)])
            seconds = min(self._patience.probe_timeout, self._settings.torchserve_timeout)
            answers = await self._ask(route, body, 1, seconds, is_probe=True)
            why = f"refuses a blank image: {answers[0].detail}" if isinstance(answers[0], Refusal) else ""
            is_outage = bool(why)
        except InferenceError as error:
            why = str(error)
            is_late = isinstance(error, TimedOut)
            is_outage = not is_late and not isinstance(error, Overloaded)
        except ValueError as error:  # a row that somebody wrote in SQL, or a later release
            why = f"the model's row can't be used: register it again: {error}"
        finally:
            route.is_probed = False
        # The probe may only be queued behind batches that do get predictions.
        if why and not (is_late and route.successes > successes):
            if why != route.why:
                log.warning("probe failed", endpoint=route.endpoint.url, model=route.model.name, why=why)
            now = self._clock()
            lately = self._patience.wanted_seconds
            wanted = now - self._wanted.get(route.model.id, -lately) < lately or not self.is_healthy
            route.probe_failed(now, why, wanted=wanted, is_outage=is_outage)
            self._tell_endpoints()

    async def _wait(self, seconds: float) -> None:
        """Wait until something changed, for at most so many seconds."""
        changed = self._changed
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _with_address(route: Route) -> str:
    url = route.endpoint.url
    return route.why if route.why.startswith(url) else f"{url}: {route.why}"
