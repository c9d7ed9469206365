"""Models that fail on some pictures, in a real TorchServe: whose fault is it?"""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from PIL import Image

from sluice.ledger import Database, models
from tests.support.faulty_models import GREY, RED, FaultyTorchServe
from tests.support.jobs_running import Operator, until
from tools.stack import Servers, Stack, card_of

FAULTS = {
    "raises": "answers 500: ValueError: no red, please",
    "fails": "answers 503: Prediction failed",
    "dies": "Worker died.",
    "hangs": "answers 500: Worker died.",
}
"""The detail of each model's quarantined objects."""
BATCH = 2
REDS = {"raises": 3, "fails": 3, "dies": 1, "hangs": 1}
"""How many pictures are red; each death of a worker takes seconds."""
PICTURES = 8
PATIENCE_SECONDS = 300.0


def png(colour: tuple[int, int, int], side: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def torchserve(servers: Servers) -> Iterator[FaultyTorchServe]:
    made = FaultyTorchServe(servers.folder, servers.leash, [*FAULTS, "always-raises"])
    made.start()
    made.wait_ready()
    yield made
    made.stop()


@pytest.fixture
def stack(servers: Servers, torchserve: FaultyTorchServe, database_name: str) -> Iterator[Stack]:
    servers.start(servers.database, servers.s3)
    options = {"torchserve": torchserve.address, "batch": BATCH, "requests_in_flight": 4, "torchserve_patience": 5.0}
    with Stack(servers, database_name, poll_seconds=0.1, **options) as made:
        yield made


@pytest.fixture
def operator(stack: Stack, torchserve: FaultyTorchServe) -> Iterator[Operator]:
    with Database(stack.settings) as database:
        for archive in torchserve.archives:
            card = card_of(archive)
            what = [card[part] for part in ("name", "version", "digest", "preprocessing", "labels")]
            database.run(models.register, *what)
        yield Operator(stack, database)


def submit(operator: Operator, source: str, model: str) -> int:
    operator.sql("INSERT INTO jobs (source, model) VALUES (%s, %s)", source, f"{model}@1.0")
    (row,) = operator.sql("SELECT MAX(id) AS id FROM jobs")
    return int(row["id"])


def test_what_a_model_fails_on_is_quarantined_and_nothing_else(stack: Stack, operator: Operator, bucket: str) -> None:
    """It raises, its worker dies, it hangs: the red ones are found by trying, and each job ends by itself.

    A model that fails on everything quarantines nothing, and the job's message has its answer; other models work.
    """
    client = stack.servers.s3.client
    for name in [*FAULTS, "always-raises"]:
        for number in range(PICTURES):
            colour = RED if number < REDS.get(name, 1) else GREY
            client.put_object(Bucket=bucket, Key=f"{name}/{number}.png", Body=png(colour, 40 + number))
    stack.start_workers(consumers=1)
    jobs = {name: submit(operator, f"s3://{bucket}/{name}/", name) for name in FAULTS}
    for name, job in jobs.items():
        until(lambda job=job: operator.progress(job).state == "done", f"the end of {name}", PATIENCE_SECONDS)  # type: ignore[misc]
        found = operator.objects(job)
        red = {f"{name}/{number}.png".encode() for number in range(REDS[name])}
        assert {key for key, row in found.items() if row["state"] == "quarantined"} == red, name
        assert {row["reason"] for key, row in found.items() if key in red} == {"rejected_by_model"}
        for key in red:
            assert FAULTS[name] in found[key]["detail"]
        assert all(row["label"] for key, row in found.items() if key not in red)
    sick = submit(operator, f"s3://{bucket}/always-raises/", "always-raises")
    until(
        lambda: "answers 500: ValueError: not today" in operator.progress(sick).message, "a message", PATIENCE_SECONDS
    )
    well = submit(operator, f"s3://{bucket}/raises/", "raises")
    until(lambda: operator.progress(well).state == "done", "the end of a job beside it", PATIENCE_SECONDS)
    seen = operator.progress(sick)
    assert (seen.state, seen.pending, seen.quarantined) == ("running", PICTURES, 0)
    operator.check()
