"""Trainers as processes, on the session's servers, with model stores of their own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from sluice.ledger import Database, trainings
from sluice.ledger.rows import ENDED
from sluice.ledger.trainings import Training
from tools.stack import S3Server, Servers
from tools.stack.workers import Worker

SECONDS: Final = 400.0


class Trainers:
    """Starts trainers for a test's database; `stop` ends them."""

    def __init__(self, servers: Servers, database_url: str, s3: S3Server, bucket: str, folder: Path) -> None:
        self.s3 = s3
        self.store_bucket = f"{bucket}-store"
        s3.client.create_bucket(Bucket=self.store_bucket)
        self._servers = servers
        self._database_url = database_url
        self._folder = folder
        self.started: list[Worker] = []

    def start(self, store: str = "models", *arguments: str, **settings: object) -> Worker:
        """Start one, on a prefix of the bucket as its store."""
        given = {
            "database_url": self._database_url,
            "s3_endpoint": self.s3.endpoint,
            "model_store": f"s3://{self.store_bucket}/{store}/",
            **settings,
        }
        name = f"trainer-{len(self.started)}"
        leash, environment = self._servers.leash, self.s3.environment
        self.started.append(Worker(name, "trainer", self._folder, leash, given, environment, *arguments))
        self.started[-1].start()
        return self.started[-1]

    def stored(self, prefix: str) -> list[str]:
        """Return the keys below a prefix of the bucket."""
        listed = self.s3.client.list_objects_v2(Bucket=self.store_bucket, Prefix=prefix).get("Contents", [])
        return [each["Key"] for each in listed]

    def stop(self) -> None:
        """End all of them."""
        for worker in self.started:
            worker.kill()


def fill(s3: S3Server, bucket: str, pictures: dict[str, bytes], prefix: str = "") -> str:
    """Upload pictures, and return the prefix's url."""
    for key, data in pictures.items():
        s3.client.put_object(Bucket=bucket, Key=prefix + key, Body=data)
    return f"s3://{bucket}/{prefix}"


def ended(ledger: Database, training: int, trainer: Worker) -> Training:
    """Wait for a training's end."""
    deadline = time.monotonic() + SECONDS
    while True:
        found = ledger.run(trainings.get, training)
        assert found is not None
        if found.state in ENDED:
            return found
        assert time.monotonic() < deadline, (found, trainer.log_tail())
        assert trainer.pid is not None, trainer.log_tail()
        time.sleep(0.2)
