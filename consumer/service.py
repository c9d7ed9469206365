"""The life of a consumer process.

    session ─▶ received ─▶ fetch ─▶ fetched ─▶ decode ─▶ decoded ─▶ infer ─▶ answered ─▶ commit ─▶ session
               (WORK)                            ├── known bytes, by content ──▶┤              (DONE)
                                                 └─ a trial's share ─▶ tried ───┘

Everything between two stages is bounded: objects by the credit, bytes before decoding by ROOM_BYTES, pixels by
PIXEL_BYTES. If a stage can't go on (no TorchServe, no ledger), its queue fills, the credit ends, and no more work
comes.

Stopping after SIGTERM: ask for no more work; give back what isn't begun; finish, commit and report the rest, or give
it back after SLUICE_DRAIN_SECONDS; BYE; stop the stages; exit 0. A second signal ends the process immediately. An
unexpected error ends it without BYE, so that producers count it as a death.
"""

from __future__ import annotations

import asyncio
import signal
import time
from functools import partial
from typing import Final

import zmq
import zmq.asyncio

from consumer.commit import CommitStage
from consumer.decode import DecodeStage
from consumer.fetch import FetchStage
from consumer.held import HeldObject
from consumer.infer import InferStage
from consumer.ledger import ConsumerLedger
from consumer.link import ProducerLink
from consumer.pipeline import Pipeline
from consumer.session import FAREWELL_MILLISECONDS, ProducerSession, SessionId
from consumer.trying import TrialStage
from sluice.errors import ConfigurationError, LedgerError
from sluice.inference import Balancer, SideBalancer, TorchServeClient
from sluice.ledger import AsyncLedger, Database
from sluice.protocol.curve import guard_client
from sluice.settings import Settings
from sluice.telemetry import Health, LedgerTelemetry, get_logger, metrics, serve

log = get_logger()

BEAT_SECONDS: Final = 0.25
MODELS_SECONDS: Final = 30.0
MODELS_RETRY_SECONDS: Final = 1.0
FAREWELL_SECONDS: Final = 2.0
"""The part of the drain's time that is reserved for RETURN and BYE."""


class ConsumerService:
    """One consumer: its queues, its stages and its links to the producers."""

    def __init__(self, settings: Settings, health: Health, ledger: ConsumerLedger) -> None:
        self._settings = settings
        self._health = health
        self._stopping = asyncio.Event()
        self._is_draining = False
        self._reading_why = "the ledger was not asked yet"
        self._committing_why = ""

        self._pipeline = Pipeline(settings)
        self.budget = self._pipeline.budget
        self._ledger = ledger
        self._balancer = Balancer(settings, TorchServeClient(settings))
        self._fetch = FetchStage(settings, self._pipeline)
        self._decode = DecodeStage(settings, self._pipeline, self._ledger)
        self._infer = InferStage(settings, self._pipeline, self._balancer)
        self._trying = TrialStage(settings, self._pipeline, SideBalancer(settings, TorchServeClient(settings)))
        self._commit = CommitStage(settings.name, self._pipeline, self._ledger, self._note_commit)
        self._context = zmq.asyncio.Context()
        self._check_addresses()
        self._links = [
            ProducerLink(partial(self._open, address), self._pipeline.drop_unbegun) for address in settings.producers
        ]

    def stop(self) -> None:
        """Start draining."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until told to stop, then drain."""
        try:
            async with asyncio.TaskGroup() as group:
                stages = [
                    group.create_task(stage)
                    for stage in (
                        self._balancer.run(),
                        self._commit.run(),
                        self._infer.run(),
                        self._trying.run(),
                        self._decode.run(),
                        self._fetch.run(),
                        self._keep_working_alone(),
                        self._keep_knowing_models(),
                        self._beat(),
                    )
                ]
                links = [group.create_task(link.run()) for link in self._links]
                await self._stopping.wait()
                await self._drain()
                await asyncio.wait(links)
                for stage in stages:
                    stage.cancel()
        finally:
            self._close()

    async def _drain(self) -> None:
        """Finish what is begun, give back the rest, send BYE."""
        self._is_draining = True
        log.info("draining", held=len(self._pipeline.in_flight))
        self._pipeline.drop_unbegun()
        try:
            async with asyncio.timeout(max(0.0, self._settings.drain_seconds - FAREWELL_SECONDS)):
                await self._pipeline.in_flight.wait_empty()
        except TimeoutError:
            log.warning(
                "not all could be finished in SLUICE_DRAIN_SECONDS: given back", held=len(self._pipeline.in_flight)
            )
            self._pipeline.in_flight.give_back_all()
        for link in self._links:
            link.leave()

    def _close(self) -> None:
        """Close threads, connections and sockets; one that hangs must not keep the process alive."""
        self._decode.close()
        self._fetch.close()
        self._balancer.close()
        self._trying.close()
        self._ledger.close()
        self._context.destroy(linger=FAREWELL_MILLISECONDS)

    # Incoming work

    def _check_addresses(self) -> None:
        """Raise an error at the start for settings that no session could be opened with."""
        for address in self._settings.producers:
            with self._context.socket(zmq.DEALER) as socket:
                socket.linger = 0
                guard_client(socket, self._settings)
                try:
                    socket.connect(address)
                except zmq.ZMQError as error:
                    raise ConfigurationError(
                        f"SLUICE_PRODUCERS has {address!r} ({error}): expected tcp://host:port"
                    ) from error

    def _open(self, address: str, place: SessionId) -> ProducerSession:
        socket = self._context.socket(zmq.DEALER)
        guard_client(socket, self._settings)
        return ProducerSession(address, socket, self._settings, self, place)

    def accept(self, objects: list[HeldObject]) -> None:
        """Take leased objects; while draining, give them back immediately."""
        self._pipeline.accept(objects)
        if self._is_draining:
            self._pipeline.drop_unbegun()

    def window(self) -> int:
        """Return how many objects one session may hold now; 0: none beyond what it was promised."""
        if self._is_draining or self._ledger_why or self.budget.is_full or not self._balancer.is_healthy:
            return 0
        window = min(self._settings.window, self._pipeline.pace.window + self._pipeline.trying)
        return max(1, window // max(1, sum(link.is_up for link in self._links)))

    def why_not(self) -> str:
        """Return why this consumer doesn't ask for work, for the message of a waiting job."""
        if self._ledger_why:
            return self._ledger_why
        return "" if self._balancer.is_healthy else self._balancer.why_not()

    async def _keep_working_alone(self) -> None:
        """Process suspects one at a time, with nothing else in their thread or request."""
        while True:
            (held,) = await self._pipeline.alone.take(1)
            if not held.item.inline and not await self._fetch.read(held):
                continue
            for known in await self._decode.decode([held], alone=True):
                if known.fault is not None:
                    self._pipeline.in_flight.fail([known])
                elif known.answer is not None:
                    await self._pipeline.pass_on([known])
                elif known.is_for_canary:
                    await self._pipeline.try_out([known])
                else:
                    await self._infer.infer([known])

    # State that other processes see

    async def _keep_knowing_models(self) -> None:
        """Read the models repeatedly: endpoints can be probed before work comes, and the ledger is known to answer."""
        while True:
            try:
                models = await self._ledger.likely_models()
            except LedgerError as error:
                if str(error) != self._reading_why:
                    log.warning("the ledger can't be read", why=str(error))
                self._reading_why = str(error)
                await asyncio.sleep(MODELS_RETRY_SECONDS)
                continue
            self._reading_why = ""
            self._balancer.offer(models)
            await asyncio.sleep(MODELS_SECONDS)

    def _note_commit(self, why: str) -> None:
        self._committing_why = why

    @property
    def _ledger_why(self) -> str:
        """Return why the ledger is unusable now. With a full disk it may answer reads, and store no prediction."""
        return self._committing_why or self._reading_why

    async def _beat(self) -> None:
        """Update the rate, the credit and the health."""
        while True:
            self._pipeline.pace.tick(time.monotonic(), busy=bool(self._pipeline.in_flight))
            sessions = [link.session for link in self._links if link.session and not link.session.is_lost]
            for session in sessions:
                session.extend_credit()
            metrics.CREDIT.set(sum(session.account.open for session in sessions))
            self._health.tick()
            self._health.set("ledger", not self._ledger_why, self._ledger_why)
            is_up = self._balancer.is_healthy
            self._health.set("torchserve", is_up, "" if is_up else self._balancer.why_not())
            missing = [
                address for link, address in zip(self._links, self._settings.producers, strict=True) if not link.is_up
            ]
            self._health.set("producers", not missing, f"no answer from {', '.join(missing)}" if missing else "")
            self._health.set("draining", not self._is_draining, "the consumer drains" if self._is_draining else "")
            await asyncio.sleep(BEAT_SECONDS)


async def serve_until_stopped(settings: Settings) -> None:
    """Run a consumer until SIGTERM or SIGINT."""
    health = Health()
    loop = asyncio.get_running_loop()
    service = ConsumerService(settings, health, ConsumerLedger(AsyncLedger(Database(settings, LedgerTelemetry()))))

    def stop(number: signal.Signals) -> None:
        service.stop()
        # A second signal takes the default action, which ends the process immediately.
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    server = serve(settings, health)
    log.info("consumer starting", name=settings.name, settings=settings.shown())
    try:
        await service.run()
    finally:
        if server is not None:
            server.close()
    log.info("consumer stopped")
