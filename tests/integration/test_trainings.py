"""Trainings from their rows to archives, by a real trainer on a real database and a real S3 server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from sluice.ledger import Database, models, trainings
from sluice.ledger.trainings import Training, Wish
from sluice.settings import Settings
from tests.support.labelled_pictures import drawing, labelled
from tools.stack import S3Server, Servers
from tools.stack.workers import Worker

SECONDS: Final = 300.0

Start = Callable[[], Worker]


@pytest.fixture
def store(s3: S3Server, bucket: str) -> str:
    """Return the url of an empty model store."""
    name = f"{bucket}-store"
    s3.client.create_bucket(Bucket=name)
    return f"s3://{name}/models/"


@pytest.fixture
def start(servers: Servers, database_url: str, s3: S3Server, store: str, tmp_path: Path) -> Iterator[Start]:
    """Return what starts a trainer."""
    started: list[Worker] = []

    def begin() -> Worker:
        given = {"database_url": database_url, "s3_endpoint": s3.endpoint, "model_store": store}
        name = f"trainer-{len(started)}"
        started.append(Worker(name, "trainer", tmp_path, servers.leash, given, s3.environment))
        started[-1].start()
        return started[-1]

    yield begin
    for worker in started:
        worker.kill()


def fill(s3: S3Server, bucket: str, pictures: dict[str, bytes], prefix: str = "") -> str:
    for key, data in pictures.items():
        s3.client.put_object(Bucket=bucket, Key=prefix + key, Body=data)
    return f"s3://{bucket}/{prefix}"


def ended(ledger: Database, training: int, trainer: Worker) -> Training:
    """Wait for a training's end."""
    deadline = time.monotonic() + SECONDS
    while True:
        found = ledger.run(trainings.get, training)
        assert found is not None
        if found.state in {"done", "failed", "cancelled"}:
            return found
        assert time.monotonic() < deadline, (found, trainer.log_tail())
        assert trainer.pid is not None, trainer.log_tail()
        time.sleep(0.2)


def test_folders_become_a_model_whose_card_says_how_good_it_is(
    start: Start, ledger: Database, s3: S3Server, bucket: str, store: str, settings: Settings
) -> None:
    del settings
    source = fill(s3, bucket, {**labelled(), "circle/broken.png": drawing("circle", 1)[:99], "circle/.DS_Store": b"x"})
    training = ledger.run(trainings.submit, Wish("shapes", source, made_by="somebody"))
    found = ended(ledger, training, start())
    assert (found.state, found.version, found.message) == ("done", "1.0", "")
    assert any("broken.png" in finding for finding in found.findings)
    assert not any("DS_Store" in finding for finding in found.findings)
    model = ledger.run(models.find, "shapes", "1.0")
    assert model is not None
    assert (model.id, model.labels) == (found.model_id, ["circle", "square"])
    assert model.card["metrics"]["test_pictures"] >= 2
    assert model.card["metrics"]["accuracy_low"] <= model.card["metrics"]["accuracy"]
    assert model.card["made_by"] == "somebody"
    assert any("may as well be" in finding for finding in model.card["findings"])
    (archive,) = keys(s3, store, "shapes/1.0/", ".mar")
    assert archive.endswith(".mar")


def keys(s3: S3Server, store: str, prefix: str, end: str) -> list[str]:
    """Return what lies in the model store."""
    bucket, _, base = store.removeprefix("s3://").partition("/")
    listed = s3.client.list_objects_v2(Bucket=bucket, Prefix=base + prefix).get("Contents", [])
    return [each["Key"] for each in listed if each["Key"].endswith(end)]
