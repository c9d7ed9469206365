"""What a trainer tells the ledger while its thread trains."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from sluice.errors import ConfigurationError
from sluice.ledger.trainings import Reached
from sluice.settings import read_settings
from sluice.telemetry import Health
from trainer.progress import TrainingProgress
from trainer.service import TrainerService


class HeardLedger:
    """Takes beats, or refuses them."""

    def __init__(self) -> None:
        self.told: list[Reached] = []
        self.refusals = 0
        self.heard = asyncio.Event()

    async def run(self, work: object, number: int, name: str, reached: Reached) -> bool:
        del work, number, name
        await asyncio.sleep(0)
        if self.refusals:
            self.refusals -= 1
            raise ConfigurationError("the database refuses the user")
        self.told.append(reached)
        self.heard.set()
        return True


def begun(folder: Path, ledger: HeardLedger, beat_seconds: float) -> tuple[TrainerService, TrainingProgress, Any]:
    settings = read_settings(model_store=f"file://{folder}/")
    trainer = TrainerService(settings, Health(), cast("Any", ledger), beat_seconds=beat_seconds)
    return trainer, TrainingProgress(), cast("Any", SimpleNamespace(id=1))


def test_a_trainer_is_heard_of_again_after_the_database_refused_it(tmp_path: Path) -> None:
    """Otherwise another one would take its training, and both would go on."""
    ledger = HeardLedger()
    ledger.refusals = 2

    async def test() -> None:
        trainer, progress, training = begun(tmp_path, ledger, 0.01)
        progress.keep()
        telling = asyncio.create_task(trainer._tell(training, progress))
        async with asyncio.timeout(30):
            await ledger.heard.wait()
        assert not telling.done()
        assert ledger.told[0].came_further, "what couldn't be told is told later"
        telling.cancel()

    asyncio.run(test())


def test_a_trainer_that_is_to_stop_doesnt_beat_without_a_pause(tmp_path: Path) -> None:
    """Its thread may be long in coming to its next step."""
    ledger = HeardLedger()

    async def test() -> None:
        trainer, progress, training = begun(tmp_path, ledger, 3600.0)
        trainer.stop()
        telling = asyncio.create_task(trainer._tell(training, progress))
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(ledger.told) == 1
        telling.cancel()

    asyncio.run(test())
