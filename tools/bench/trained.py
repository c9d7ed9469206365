"""Trainings that are measured: their pictures in a bucket, and the wait for what comes of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any, Final

from sluice.ledger import Database, models, trainings
from sluice.ledger.rows import ENDED
from tools.stack import S3Server, Stack, StackError

BUCKET: Final = "pictures"
POLL_SECONDS: Final = 0.2


def fill(s3: S3Server, prefix: str, pictures: Iterable[tuple[str, bytes]]) -> str:
    """Upload pictures, and return the source that they are."""
    for key, data in pictures:
        s3.client.put_object(Bucket=BUCKET, Key=f"{prefix}/{key}", Body=data)
    return f"s3://{BUCKET}/{prefix}/"


def card_of_training(stack: Stack, database: Database, number: int) -> dict[str, Any]:
    """Wait for a training's end, showing its stages; return the card of what it made."""
    (trainer,) = stack.trainers
    stage = ""
    while True:
        found = database.run(trainings.get, number)
        if found is None or trainer.pid is None:
            raise StackError(f"the trainer ended:\n{trainer.log_tail()}")
        if found.state in ENDED:
            break
        if found.stage != stage:
            stage = found.stage
            print(f"training: {stage}", file=sys.stderr, flush=True)
        time.sleep(POLL_SECONDS)
    if found.state != "done":
        raise StackError(f"the training {found.state}: {found.message}")
    return models.card_of(database.run(models.resolve, f"{found.name}@{found.version}"))
