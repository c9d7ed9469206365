"""A trainer that is killed again and again makes the model that one makes whom nobody disturbs."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from sluice.ledger import Database, models, trainings
from sluice.ledger.rows import ENDED
from sluice.ledger.trainings import Training, Wish
from tests.support.labelled_pictures import labelled
from tests.support.trainers import Trainers, ended, fill
from tools.stack import S3Server, Servers

KILLS: Final = 4
LONGEST: Final = 10.0
SEED: Final = 7


@pytest.fixture
def trainers(servers: Servers, database_url: str, s3: S3Server, bucket: str, tmp_path: Path) -> Iterator[Trainers]:
    started = Trainers(servers, database_url, s3, bucket, tmp_path)
    yield started
    started.stop()


def digest(ledger: Database, training: Training) -> str:
    model = ledger.run(models.get, training.model_id or 0)
    assert model is not None
    return model.digest


def test_kills_at_random_moments_change_nothing(
    trainers: Trainers, ledger: Database, s3: S3Server, bucket: str
) -> None:
    wish = Wish("shapes", fill(s3, bucket, labelled(each=24)), fine_tune=True)
    training = ledger.run(trainings.submit, wish)
    worker = trainers.start("calm")
    calm = ended(ledger, training, worker)
    assert calm.state == "done", calm
    worker.stop()

    training = ledger.run(trainings.submit, wish)
    worker = trainers.start("killed")
    dice, kills, stages = random.Random(SEED), 0, list[str]()
    while kills < KILLS:
        time.sleep(dice.uniform(0, LONGEST))
        found = ledger.run(trainings.get, training)
        assert found is not None
        if found.state in ENDED:  # it was faster: all over again, in a store that knows nothing yet
            training = ledger.run(trainings.submit, wish)
            worker.stop()
            worker = trainers.start(f"killed-{kills}")
            continue
        worker.kill()
        kills, stages = kills + 1, [*stages, found.stage]
        worker.start()
    killed = ended(ledger, training, worker)
    assert killed.state == "done", (killed, stages)
    assert digest(ledger, killed) == digest(ledger, calm), stages
