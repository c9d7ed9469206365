"""A trainer, killed again and again at moments of chance; it must make the model of one that nobody disturbs."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sluice.ledger import Database, models, trainings
from sluice.ledger.rows import ENDED
from sluice.ledger.trainings import Training, Wish
from tools.labelled.digits import digits
from tools.stack import Servers, Stack
from tools.stack.workers import Worker

BUCKET: Final = "trainings"
PICTURES: Final = 150
LONGEST_SECONDS: Final = 15.0
"""Between two kills; a trainer has loaded its packages by then."""
WAIT_SECONDS: Final = 1800.0


@dataclass
class KilledTrainings:
    """What came of a seed's kills."""

    seconds: float = 0.0
    stages: list[str] = field(default_factory=list)
    """In which stage each kill came."""
    breaches: list[str] = field(default_factory=list)


def trainings_killed(servers: Servers, seed: int, kills: int, say: Callable[[str], None]) -> KilledTrainings:
    """Train once undisturbed, then once or several times under so many kills, and compare the models' digests."""
    outcome = KilledTrainings()
    begun = time.monotonic()
    servers.start(servers.database, servers.s3)
    servers.s3.fill(f"{BUCKET}-{seed}", itertools.islice(digits(), PICTURES))
    with Stack(servers, f"trainings{seed}") as stack, Database(stack.settings) as database:
        dice = random.Random(seed)  # noqa: S311 - kills must be repeatable
        wish = Wish("digits", f"s3://{BUCKET}-{seed}/", fine_tune=True)
        calm = _end(database, database.run(trainings.submit, wish), _trainer(stack, servers, "calm"))
        killed = calm
        for number in itertools.count():
            if len(outcome.stages) >= kills or outcome.breaches:
                break
            # With a store that knows nothing yet: features and checkpoints of another training would be found there.
            trainer, training = _trainer(stack, servers, f"killed-{number}"), database.run(trainings.submit, wish)
            while len(outcome.stages) < kills:
                time.sleep(dice.uniform(0, LONGEST_SECONDS))
                found = _get(database, training)
                if found.state in ENDED:
                    break
                trainer.kill()
                outcome.stages.append(found.stage or found.state)
                say(f"kill {len(outcome.stages)} of {kills}: {outcome.stages[-1]}")
                trainer.start()
            killed = _end(database, training, trainer)
            said = [_digest(database, each) for each in (calm, killed)]
            if calm.state != "done" or killed.state != "done" or said[0] != said[1]:
                outcome.breaches.append(f"{calm.state} {said[0]} undisturbed, {killed.state} {said[1]} when killed")
                say(f"{killed}\n{stack.log_tails()}")
    outcome.seconds = time.monotonic() - begun
    return outcome


def _trainer(stack: Stack, servers: Servers, store: str) -> Worker:
    trainer = stack.add_trainer(model_store=f"file://{servers.folder}/{stack.database}-{store}/")
    trainer.start()
    return trainer


def _end(database: Database, training: int, trainer: Worker) -> Training:
    """Wait for a training's end, and end its trainer."""
    trainer.wait_until(lambda: _get(database, training).state in ENDED, WAIT_SECONDS)
    trainer.stop()
    return _get(database, training)


def _get(database: Database, training: int) -> Training:
    found = database.run(trainings.get, training)
    if found is None:
        raise SystemExit(f"training {training} is gone")
    return found


def _digest(database: Database, training: Training) -> str:
    model = database.run(models.get, training.model_id or 0)
    return model.digest if model else "no model"
