"""The whole life of a gateway: its parts, its server, and their orderly end.

Order of stopping, after SIGTERM: say that it isn't ready, take no new connection, answer what is under way, stop.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Final

import uvicorn

from gateway.admission import Admission
from gateway.app import make_app
from gateway.classifier import Classifier
from gateway.comparer import Comparer
from gateway.doors.connections import BoundedProtocol
from gateway.doors.doors import Doors
from gateway.doors.edge import Edge
from gateway.doors.listening import listen
from gateway.explainer import Explainer
from gateway.exports import Exports
from gateway.feed import JobFeed
from gateway.ledgers import LedgerPool
from gateway.live_models import LiveModels
from gateway.parts import Parts
from gateway.predictor import Predictor
from gateway.repeats import Repeats
from gateway.retention import Retention
from gateway.store import PictureStore
from gateway.uploads.bucket import ArchiveBucket
from gateway.uploads.receiver import ArchiveReceiver
from gateway.viewer import PictureViewer
from sluice.errors import ConfigurationError, LedgerError, SourceError
from sluice.inference import Balancer, TorchServeClient
from sluice.ledger import answers, comparisons, drifting, idempotency, models
from sluice.settings import Settings
from sluice.telemetry import Health, get_logger, serve

log = get_logger()

BEAT_SECONDS: Final = 0.5
MODELS_SECONDS: Final = 10.0
STORE_SECONDS: Final = 60.0
STORE_AGAIN_SECONDS: Final = 5.0
TRIM_SECONDS: Final = 60.0
HEADERS_BYTES: Final = 32 * 1024
IDLE_SECONDS: Final = 75


class GatewayService:
    """One gateway: what it is made of, and what goes on beside requests."""

    def __init__(self, settings: Settings, health: Health) -> None:
        self._settings = settings
        self._health = health
        self._ledger = LedgerPool(settings)
        # Of their own, since they take several statements at once: only the classifier's, which are known.
        self._pictures = LedgerPool(settings, joins=True)
        self._ledger_why = "the ledger was not asked yet"
        self._store_why = "the bucket was not asked yet"
        self._balancer = Balancer(settings, TorchServeClient(settings))
        store = PictureStore(settings)
        predictor = Predictor(self._balancer, settings.requests_in_flight, settings.batch)
        admission = Admission(settings.gateway_queue, settings.gateway_queue_bytes)
        self._classifier = Classifier(settings, admission, self._pictures, predictor, store)
        self._store = store
        self._feed = JobFeed(self._ledger)
        self._receiver = ArchiveReceiver(settings, ArchiveBucket(store), self._ledger)
        self._retention = Retention(settings, store)
        self._doors = Doors(settings, self._ledger)
        self._viewer = PictureViewer(settings)
        parts = Parts(
            settings=settings,
            ledger=self._ledger,
            models=LiveModels(self._ledger),
            store=store,
            classifier=self._classifier,
            doors=self._doors,
            exports=Exports(self._ledger),
            feed=self._feed,
            repeats=Repeats(self._ledger),
            receiver=self._receiver,
            viewer=self._viewer,
            explainer=Explainer(settings, self._balancer, self._viewer),
            comparer=Comparer(self._ledger),
        )
        self.app = Edge(make_app(parts), settings)

    async def run(self) -> None:
        """Do what goes on beside requests, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._balancer.run())
            group.create_task(self._classifier.run())
            group.create_task(self._feed.run())
            group.create_task(self._receiver.run())
            group.create_task(self._retention.run())
            group.create_task(self._doors.run())
            group.create_task(self._keep_knowing_models())
            group.create_task(self._keep_asking_the_store())
            group.create_task(self._keep_trimming())
            group.create_task(self._beat())

    def drain(self) -> None:
        """End what would go on for as long as somebody looks."""
        self._feed.close()

    def close(self) -> None:
        """Let go of threads and connections; whatever still hangs in one must not keep the process."""
        self._classifier.close()
        self._balancer.close()
        self._store.close()
        self._viewer.close()
        self._doors.close()
        self._ledger.close()
        self._pictures.close()

    async def _keep_knowing_models(self) -> None:
        """Offer the live models to the balancer, so that TorchServe is probed before anybody asks."""
        while True:
            try:
                found = await self._ledger.run(models.list_models)
                self._balancer.offer([model for model in found if model.live])
                self._ledger_why = ""
            except LedgerError as error:
                if str(error) != self._ledger_why:
                    log.warning("the ledger can't be read", why=str(error))
                self._ledger_why = str(error)
            await asyncio.sleep(1.0 if self._ledger_why else MODELS_SECONDS)

    async def _keep_asking_the_store(self) -> None:
        """Ask now and then whether the bucket is there; probes of /ready ask nothing."""
        while True:
            try:
                await self._store.ask()
                self._store_why = ""
            except (ConfigurationError, SourceError) as error:
                if str(error) != self._store_why:
                    log.warning("the bucket can't be used", why=str(error))
                self._store_why = str(error)
            await asyncio.sleep(STORE_AGAIN_SECONDS if self._store_why else STORE_SECONDS)

    async def _keep_trimming(self) -> None:
        """Keep answers and idempotency keys within their bounds; all replicas do, since any may be gone."""
        while True:
            await asyncio.sleep(TRIM_SECONDS)
            try:
                while await self._ledger.run(
                    answers.trim, self._settings.gateway_answers, self._settings.gateway_answers_days
                ):
                    pass
                while await self._ledger.run(idempotency.trim):
                    pass
                while await self._ledger.run(comparisons.sweep):
                    pass
                for model_id in await self._ledger.run(drifting.models_to_count):
                    while await self._ledger.run(
                        drifting.count, model_id, self._settings.drift_window, self._settings.drift_days
                    ):
                        pass
            except LedgerError as error:
                log.warning("old answers can't be deleted yet", why=str(error))

    async def _beat(self) -> None:
        while True:
            self._health.tick()
            self._health.set("ledger", not self._ledger_why, self._ledger_why)
            self._health.set("store", not self._store_why, self._store_why)
            is_up = self._balancer.is_healthy
            self._health.set("torchserve", is_up, "" if is_up else self._balancer.why_not())
            await asyncio.sleep(BEAT_SECONDS)


class GatewayServer(uvicorn.Server):
    """uvicorn, whose signals this process handles itself."""

    def install_signal_handlers(self) -> None:
        """Leave signals to `serve_until_stopped`."""


async def serve_until_stopped(settings: Settings) -> None:
    """Run a gateway until SIGTERM or SIGINT."""
    sockets = await listen(settings.gateway_bind)
    health = Health()
    service = GatewayService(settings, health)
    server = GatewayServer(
        uvicorn.Config(
            service.app,
            http=BoundedProtocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            h11_max_incomplete_event_size=HEADERS_BYTES,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=int(settings.drain_seconds),
        )
    )
    loop = asyncio.get_running_loop()

    def end() -> None:
        health.set("draining", ok=False, why="the gateway drains")
        service.drain()
        server.should_exit = True

    def stop(number: signal.Signals) -> None:
        log.info("draining")
        end()
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)

    metrics_server = serve(settings, health)
    log.info("gateway starts", name=settings.name, bind=settings.gateway_bind, settings=settings.shown())
    beside = asyncio.create_task(service.run())
    # It ends by itself only for what waiting can't mend; without it requests would wait for ever.
    beside.add_done_callback(lambda _: end())
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop, number)
        await server.serve(sockets)
    finally:
        has_failed = beside.done()
        beside.cancel()
        service.close()
        if metrics_server is not None:
            metrics_server.close()
    if has_failed:
        beside.result()
    log.info("gateway is drained")
