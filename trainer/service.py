"""The life of a trainer: wait for a row in `trainings`, have it trained in a thread, tell how far it is, and go on.

When told to stop, it gives its training back at the next step. When killed, its row falls silent, and the next trainer
takes it over.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import closing
from typing import Final

from sluice.backoff import Backoff
from sluice.domain import Model
from sluice.errors import (
    BuildError,
    ConfigurationError,
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
from sluice.telemetry import get_logger
from sluice.telemetry.health import Health, serve
from trainer.course import Course, MadeModel
from trainer.labels import labels_of
from trainer.progress import TrainingProgress

log = get_logger()

BEAT_SECONDS: Final = 1.0
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
"""Between two tries while a bucket or the database can't be reached."""


async def serve_until_stopped(settings: Settings) -> None:
    """Train what rows ask for, until SIGTERM or SIGINT."""
    if not settings.model_store:
        raise ConfigurationError(
            "there is no place for models: set SLUICE_MODEL_STORE to s3://bucket/prefix/ or file:///folder/"
        )
    log.info("trainer starts", **settings.shown())
    health = Health()
    health.set("ledger", ok=False, why="starting")
    serve(settings, health)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def waits(why: str) -> None:
        health.set("ledger", ok=not why, why=why)

    ledger = AsyncLedger(Database(settings), "ledger", waits)
    beating = asyncio.create_task(_beat(health))
    try:
        while not stop.is_set():
            training = await ledger.run(trainings.claim, settings.name)
            if training is None:
                await _pause(stop, settings.poll_seconds)
            else:
                await _train(training, settings, ledger, stop)
    finally:
        beating.cancel()
        ledger.close()
    log.info("stopped")


async def _train(training: Training, settings: Settings, ledger: AsyncLedger, stop: asyncio.Event) -> None:
    """Have one training run to its end, or until it is no longer this trainer's."""
    said = log.bind(training=training.id, model=f"{training.name}@{training.version}")
    said.info("training begins", stage=training.stage, deaths=training.deaths)
    progress = TrainingProgress()
    telling = asyncio.create_task(_tell(training, settings, ledger, progress, stop))
    pauses = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
    try:
        while True:
            try:
                made = await asyncio.to_thread(_run, training, settings, progress)
                model = await _finish(training, settings, ledger, made)
            except (SourceError, LedgerUnavailable) as error:
                if isinstance(error, SourceMissing | ObjectError):
                    raise
                said.warning("waiting", error=str(error))
                progress.message = f"waits: {error}"
                await _pause(stop, pauses.next())
                progress.check()
                continue
            said.info("training done" if model else "taken over by another trainer")
            return
    except TrainingStopped:
        said.info("training stops")
        await ledger.run(trainings.give_back, training.id, settings.name)
    except (TrainingError, BuildError, ConfigurationError, SourceError) as error:
        said.warning("training failed", error=str(error))
        await ledger.run(trainings.fail, training.id, settings.name, str(error))
    finally:
        telling.cancel()


def _run(training: Training, settings: Settings, progress: TrainingProgress) -> MadeModel:
    with closing(Database(settings)) as database:
        course = Course(
            training,
            settings,
            progress,
            lambda: labels_of(training, settings, database),
            lambda findings: database.run(trainings.set_findings, training.id, findings),
        )
        made = course.run()
    progress.message = ""
    return made


async def _finish(training: Training, settings: Settings, ledger: AsyncLedger, made: MadeModel) -> Model | None:
    """Write the rows: the archive's bytes are in the store already."""
    return await ledger.run(trainings.finish, training.id, settings.name, made.card, made.archive)


async def _tell(
    training: Training, settings: Settings, ledger: AsyncLedger, progress: TrainingProgress, stop: asyncio.Event
) -> None:
    """Tell the ledger how far the training is, and the training when it isn't wanted any more."""
    while True:
        is_own = await ledger.run(trainings.beat, training.id, settings.name, progress.reached())
        if not is_own or stop.is_set():
            progress.stop()
            return
        await _pause(stop, BEAT_SECONDS)


async def _beat(health: Health) -> None:
    while True:
        health.tick()
        await asyncio.sleep(1.0)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
