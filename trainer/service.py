"""The life of a trainer: wait for a row in `trainings`, have it trained in a thread, tell how far it is, and go on.

When told to stop, it gives its training back at the next step. When killed, its row falls silent, and the next trainer
takes it over. While nobody asks for a training, it clears the store of what none needs.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import closing
from typing import Any, Final, TypeVar

from sluice.backoff import Backoff
from sluice.domain import Model
from sluice.errors import (
    BuildError,
    ConfigurationError,
    LedgerError,
    LedgerUnavailable,
    ObjectError,
    SourceError,
    SourceMissing,
    TrainingError,
    TrainingStopped,
)
from sluice.ledger import AsyncLedger, Database, trainings
from sluice.ledger.trainings import Training
from sluice.settings import Settings
from sluice.telemetry import Health, LedgerTelemetry, get_logger, metrics, serve
from trainer.course import Course, MadeModel
from trainer.labels import labels_of
from trainer.progress import TrainingProgress
from trainer.sweeping import StoreSweep

log = get_logger()

T = TypeVar("T")

BEAT_SECONDS: Final = 1.0
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
"""Between two tries while a bucket or the database can't be reached."""
LAST_WORD_SECONDS: Final = 5.0
"""For the ledger's answers once told to stop; then others take over what it couldn't be told of."""
OUTCOMES: Final = ("done", "failed", "left")


class TrainerService:
    """One trainer."""

    def __init__(
        self,
        settings: Settings,
        health: Health,
        ledger: AsyncLedger,
        *,
        until_idle: bool = False,
        beat_seconds: float = BEAT_SECONDS,
    ) -> None:
        self._settings = settings
        self._health = health
        self._ledger = ledger
        self._until_idle = until_idle
        self._beat_seconds = beat_seconds
        self._stopping = asyncio.Event()
        self._sweep = StoreSweep(settings, ledger)
        for outcome in OUTCOMES:
            metrics.TRAININGS.labels(outcome=outcome)

    def stop(self) -> None:
        """Give the training back and end."""
        self._stopping.set()

    async def run(self) -> None:
        """Train what rows ask for, until told to stop or, if so wished, until none waits."""
        beating = asyncio.create_task(self._beat())
        try:
            while not self._stopping.is_set():
                training = await self._unless_stopped(self._ledger.run(trainings.claim, self._settings.name))
                if training is not None:
                    await self._train(training)
                    continue
                if self._stopping.is_set():
                    return
                await self._unless_stopped(self._sweep.run_if_due())
                if self._until_idle:
                    return
                await self._pause(self._settings.poll_seconds)
        finally:
            beating.cancel()

    async def _train(self, training: Training) -> None:
        """Have one training run to its end, or until it is no longer this trainer's."""
        said = log.bind(training=training.id, model=f"{training.name}@{training.version}")
        said.info("training begins", stage=training.stage, deaths=training.deaths)
        progress = TrainingProgress(lambda stage: metrics.TRAINING_STEPS.labels(stage=stage).inc())
        others = [asyncio.create_task(each) for each in (self._tell(training, progress), self._stop_with(progress))]
        pauses = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        metrics.TRAINING_AT_WORK.set(1)
        outcome = "left"
        try:
            while True:
                try:
                    made = await asyncio.to_thread(self._course, training, progress)
                    model = await self._finish(training, made)
                except (SourceError, LedgerUnavailable) as error:
                    if isinstance(error, SourceMissing | ObjectError):
                        raise
                    said.warning("waiting", error=str(error))
                    progress.message = f"waits: {error}"
                    await self._pause(pauses.next())
                    progress.check()
                    continue
                said.info("training done" if model else "left to another trainer")
                outcome = "done" if model else "left"
                return
        except TrainingStopped:
            said.info("training stops")
            await self._unless_stopped(self._ledger.run(trainings.give_back, training.id, self._settings.name))
        except (TrainingError, BuildError, ConfigurationError, SourceError) as error:
            said.warning("training failed", error=str(error))
            outcome = "failed"
            await self._unless_stopped(self._ledger.run(trainings.fail, training.id, self._settings.name, str(error)))
        finally:
            for each in others:
                each.cancel()
            metrics.TRAINING_AT_WORK.set(0)
            metrics.TRAININGS.labels(outcome=outcome).inc()

    def _course(self, training: Training, progress: TrainingProgress) -> MadeModel:
        with closing(Database(self._settings, LedgerTelemetry())) as database:
            course = Course(
                training,
                self._settings,
                progress,
                lambda: labels_of(training, self._settings, database),
                lambda findings: database.run(trainings.set_findings, training.id, findings),
            )
            made = course.run()
        progress.message = ""
        return made

    async def _finish(self, training: Training, made: MadeModel) -> Model | None:
        """Write the rows: the archive's bytes are in the store already."""
        return await self._unless_stopped(
            self._ledger.run(trainings.finish, training.id, self._settings.name, made.card, made.archive)
        )

    async def _tell(self, training: Training, progress: TrainingProgress) -> None:
        """Tell the ledger how far the training is, and the training when it isn't wanted any more."""
        why = ""
        while True:
            reached = progress.reached()
            try:
                if not await self._ledger.run(trainings.beat, training.id, self._settings.name, reached):
                    break
                why = ""
            except (LedgerError, ConfigurationError) as error:  # for example, the password is being changed
                if str(error) != why:
                    why = str(error)
                    log.warning("the ledger can't be told how far the training is", training=training.id, why=why)
                if reached.came_further:
                    progress.keep()
            await asyncio.sleep(self._beat_seconds)  # also once it is to stop: until then it is this trainer's
        progress.stop()

    async def _stop_with(self, progress: TrainingProgress) -> None:
        """Stop a training with its trainer, also while the ledger doesn't answer."""
        await self._stopping.wait()
        progress.stop()

    async def _beat(self) -> None:
        while True:
            self._health.tick()
            await asyncio.sleep(1.0)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return what comes of some work; None if it isn't done soon after this trainer was told to stop."""
        working, stopping = asyncio.create_task(work), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await asyncio.wait({working}, timeout=LAST_WORD_SECONDS)
            return working.result() if working.done() else None
        finally:
            working.cancel()
            stopping.cancel()


async def serve_until_stopped(settings: Settings, *, until_idle: bool = False) -> None:
    """Train what rows ask for, until SIGTERM or SIGINT or, if so wished, until none waits."""
    if not settings.model_store:
        raise ConfigurationError(
            "there is no place for models: set SLUICE_MODEL_STORE to s3://bucket/prefix/ or file:///folder/"
        )
    log.info("trainer starts", **settings.shown())
    health = Health()
    health.set("ledger", ok=False, why="starting")

    def waits(why: str) -> None:
        health.set("ledger", ok=not why, why=why)

    ledger = AsyncLedger(Database(settings, LedgerTelemetry()), "ledger", waits)
    service = TrainerService(settings, health, ledger, until_idle=until_idle)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop)
    server = serve(settings, health)
    try:
        await service.run()
    finally:
        ledger.close()
        if server is not None:
            server.close()
    log.info("stopped")
