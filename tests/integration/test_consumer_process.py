"""The consumer as a process: a real database and real ZeroMQ; the test acts as the producer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from sluice.domain import ListedObject, Model
from sluice.images import Preprocessing, decode, pack
from sluice.inference import Answer, TorchServeClient
from sluice.inference.resolve import endpoints
from sluice.ledger import Database, LedgerCursor, check, jobs, listing, models, predictions, progress, trials
from sluice.ledger.trials import TrialWish
from sluice.objects import open_source
from sluice.protocol import Work, WorkItem
from sluice.settings import Settings, read_settings
from tests.support.consumer_fakes import LABELS, PREPROCESSING, FakeProducer, FakeTorchServe, png
from tools.photos import photograph
from tools.stack import TorchServe
from tools.stack.ports import free_port
from tools.stack.torchserve import card_of


@pytest.fixture
def producer() -> Iterator[FakeProducer]:
    fake = FakeProducer()
    yield fake
    fake.close()


@pytest.fixture
def fake_torchserve() -> Iterator[FakeTorchServe]:
    with FakeTorchServe().running() as fake:
        yield fake


class Process:
    """A consumer and its metrics."""

    def __init__(self, settings: Settings, producer: FakeProducer, address: str, log: Path, **more: str) -> None:
        self.port = free_port()
        environment = {
            **os.environ,
            "SLUICE_DATABASE_URL": settings.database_url.get_secret_value(),
            "SLUICE_PRODUCERS": producer.address,
            "SLUICE_TORCHSERVE": address,
            "SLUICE_METRICS_PORT": str(self.port),
            "SLUICE_NAME": "tested",
            **more,
        }
        self._log = log.open("ab")
        self.running = subprocess.Popen(
            [sys.executable, "-m", "consumer"], env=environment, stdout=self._log, stderr=self._log
        )

    def ready(self) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def close(self) -> None:
        if self.running.poll() is None:
            self.running.kill()
        self.running.wait()
        self._log.close()


Start = Callable[..., Process]


@pytest.fixture
def start(settings: Settings, producer: FakeProducer, tmp_path: Path) -> Iterator[Start]:
    """Start consumers; those that still run at the end are killed, and their logs shown."""
    started: list[Process] = []
    log = tmp_path / "consumer.log"

    def begin(address: str, **more: str) -> Process:
        started.append(Process(settings, producer, address, log, **more))
        return started[-1]

    yield begin
    for process in started:
        process.close()
    print(log.read_text())  # noqa: T201 - pytest shows it where a test failed


def job(ledger: Database, count: int, source: str = "s3://bucket") -> tuple[int, Model, list[int]]:
    """Insert a running job with so many pending objects."""

    def make(cursor: LedgerCursor) -> tuple[int, Model, list[int]]:
        model = models.register(cursor, "fake", "1", "d" * 64, PREPROCESSING, LABELS)
        models.promote(cursor, "fake", "1")
        number = jobs.submit(cursor, source)
        jobs.start(cursor, number, model.id)
        entries = [ListedObject(b"key%05d" % place, "etag", 1) for place in range(count)]
        listing.add_page(cursor, number, entries, repeat_no=0, last=True, repeats=1)
        cursor.execute("SELECT id FROM objects WHERE job_id = %s ORDER BY id", (number,))
        return number, model, [row["id"] for row in cursor.fetchall()]

    return ledger.run(make)


def test_predictions_are_rows(
    ledger: Database, producer: FakeProducer, fake_torchserve: FakeTorchServe, start: Start
) -> None:
    number, model, ids = job(ledger, 5)
    process = start(fake_torchserve.url)
    assert producer.until(lambda: producer.limit > 0)
    producer.lease({object_id: png(place) for place, object_id in enumerate(ids)}, model_id=model.id, job=number)
    assert producer.until(lambda: producer.done == set(ids))
    assert producer.until(lambda: process.ready()[0] == 200)
    rows = ledger.run(predictions.results, number)
    assert [row.label for row in rows] == [f"label {place}" for place in range(5)]
    assert rows[3].top == (("label 3", 0.75), ("label 0", 0.25))
    # Sent again because its DONE was lost: nothing more is written, and the lease ends anyway.
    producer.done.clear()
    producer.lease({ids[0]: png(200)}, model_id=model.id, job=number)
    assert producer.until(lambda: producer.done == {ids[0]})
    found = ledger.run(progress.progress, number)
    assert found is not None
    assert (found.done, found.pending) == (5, 0)
    process.running.send_signal(signal.SIGTERM)
    assert producer.until(lambda: producer.left)
    assert process.running.wait(20) == 0


def tried(ledger: Database, digest: str = "d" * 64, *, shadow: bool) -> int:
    """Begin a trial of all objects with a second version of the job's model."""

    def begin(cursor: LedgerCursor) -> int:
        models.register(cursor, "fake", "2", digest, PREPROCESSING, [f"{label}!" for label in LABELS])
        return trials.submit(cursor, TrialWish("fake@2", 1.0, shadow))

    number = ledger.run(begin)
    begun = ledger.run(trials.attend, number)
    assert begun is not None
    assert begun.state == "running"
    return number


def said(ledger: Database) -> list[tuple[int, str, str, bool]]:
    """Return object, label of the candidate and of the live version, and whether the candidate failed."""

    def read(cursor: LedgerCursor) -> list[tuple[int, str, str, bool]]:
        cursor.execute("SELECT * FROM trial_predictions ORDER BY object_id")
        return [(row["object_id"], row["label"], row["live_label"], bool(row["failure"])) for row in cursor.fetchall()]

    return ledger.run(read)


@pytest.mark.parametrize("mode", ["shadow", "canary"])
def test_a_candidate_answers_beside_or_instead(
    ledger: Database, producer: FakeProducer, fake_torchserve: FakeTorchServe, start: Start, mode: str
) -> None:
    """Equal bytes are answered alike, and a suspect is tried until two consumers have died with it."""
    number, model, ids = job(ledger, 6)
    shadow = mode == "shadow"
    trial = tried(ledger, shadow=shadow)
    start(fake_torchserve.url)
    assert producer.until(lambda: producer.limit > 0)
    objects = {object_id: png(place // 2) for place, object_id in enumerate(ids)}
    lease = partial(producer.lease, model_id=model.id, job=number, trial=trial)
    lease({each: objects[each] for each in ids[:4]})
    lease({ids[4]: objects[ids[4]]}, alone=True, deaths=1)
    assert producer.until(lambda: len(producer.done) == 5)
    lease({ids[5]: objects[ids[5]]}, alone=True, deaths=2)
    assert producer.until(lambda: producer.done == set(ids))
    own = [f"label {place // 2}" for place in range(6)]
    theirs = [f"{label}!" for label in own[:5]]
    assert said(ledger) == [
        *((ids[place], theirs[place], own[place] if shadow else "", False) for place in range(5)),
        (ids[5], "", own[5] if shadow else "", True),
    ]
    assert [row.label for row in ledger.run(predictions.results, number)] == (own if shadow else [*theirs, own[5]])
    assert ledger.run(check.check) == []


@pytest.mark.parametrize("mode", ["shadow", "canary"])
def test_no_object_suffers_from_a_candidate_that_gives_no_answers(
    ledger: Database, producer: FakeProducer, fake_torchserve: FakeTorchServe, start: Start, mode: str
) -> None:
    number, model, ids = job(ledger, 4)
    trial = tried(ledger, "e" * 64, shadow=mode == "shadow")
    start(fake_torchserve.url, SLUICE_TORCHSERVE_PATIENCE="1")
    for some in (ids[:2], ids[2:]):
        assert producer.until(lambda: producer.limit - producer.received >= 2)
        producer.lease({each: png(each % 256) for each in some}, model_id=model.id, job=number, trial=trial)
        assert producer.until(lambda some=some: set(some) <= producer.done)  # type: ignore[misc]
    assert [failed for *_, failed in said(ledger)] == [True] * 4
    assert {row.model for row in ledger.run(predictions.results, number)} == {"fake@1"}
    assert ledger.run(check.check) == []


def test_what_a_canary_said_too_late_goes_back(
    ledger: Database, producer: FakeProducer, fake_torchserve: FakeTorchServe, start: Start
) -> None:
    number, model, ids = job(ledger, 1)
    trial = tried(ledger, shadow=False)
    start(fake_torchserve.url)
    assert producer.until(lambda: producer.limit > 0)
    ledger.run(trials.stop, trial)
    producer.lease({ids[0]: png(1)}, model_id=model.id, job=number, trial=trial)
    assert producer.until(lambda: producer.returned == {ids[0]})
    producer.lease({ids[0]: png(1)}, model_id=model.id, job=number)
    assert producer.until(lambda: producer.done == {ids[0]})
    assert [row.model for row in ledger.run(predictions.results, number)] == ["fake@1"]
    assert said(ledger) == []


def test_references_are_read_from_their_source(
    ledger: Database, producer: FakeProducer, fake_torchserve: FakeTorchServe, start: Start, tmp_path: Path
) -> None:
    """One exists, one was replaced since it was listed, one is deleted."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("gone.png", "replaced.png", "there.png"):
        (folder / name).write_bytes(png(7))
    source = folder.as_uri()
    listed = [entry for page in open_source(source, read_settings()).list(b"") for entry in page]
    (folder / "gone.png").unlink()
    (folder / "replaced.png").write_bytes(png(8, side=50))
    number, model, ids = job(ledger, 3, source)
    start(fake_torchserve.url)
    assert producer.until(lambda: producer.limit > 0)
    items = [
        WorkItem(object_id, number, model.id, source, entry.key, entry.etag, entry.size, inline=False, alone=False)
        for object_id, entry in zip(ids, listed, strict=True)
    ]
    producer.sent += len(items)
    producer.send(Work(items=items))
    assert producer.until(lambda: len(producer.done) + len(producer.failed) == 3)
    assert producer.failed == {ids[0]: "not_found", ids[1]: "changed"}
    assert producer.done == {ids[2]}


def test_it_says_why_it_isnt_ready_and_asks_for_nothing(ledger: Database, producer: FakeProducer, start: Start) -> None:
    job(ledger, 1)
    process = start(f"http://127.0.0.1:{free_port()}")
    assert producer.until(lambda: "gives no answer" in process.ready()[1])
    assert process.ready()[0] == 503
    assert producer.limit == 0
    process.running.send_signal(signal.SIGTERM)
    assert process.running.wait(20) == 0


def test_a_second_signal_ends_it_at_once(
    ledger: Database, producer: FakeProducer, fake_torchserve: FakeTorchServe, start: Start
) -> None:
    number, model, ids = job(ledger, 2)
    process = start(fake_torchserve.url, SLUICE_BATCH_WAIT="0", SLUICE_DRAIN_SECONDS="100")
    assert producer.until(lambda: producer.limit > 0)
    fake_torchserve.answer = lambda _: (503, {})
    producer.lease({ids[0]: png(1)}, model_id=model.id, job=number)
    assert producer.until(lambda: producer.received == 1)
    process.running.send_signal(signal.SIGTERM)
    assert producer.until(lambda: "drain" in process.ready()[1])
    assert process.running.poll() is None
    process.running.send_signal(signal.SIGTERM)
    assert process.running.wait(5) == -signal.SIGTERM


def test_a_wrong_setting_ends_it_with_a_sentence() -> None:
    environment = {**os.environ, "SLUICE_PRODUCERS": "producer:5600"}
    run = subprocess.run(
        [sys.executable, "-m", "consumer"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 2
    assert "SLUICE_PRODUCERS" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_real_torchserve_answers_a_packed_batch(torchserve: TorchServe) -> None:
    """The same photo gives the same prediction whatever the batch, and the digest is the archive's."""
    card = card_of(torchserve.archives[torchserve.models.index("efficientnet-lite0")])
    model = Model(1, card["name"], card["version"], card["digest"], card["preprocessing"], card["labels"], live=True)
    spec = Preprocessing.from_dict(card["preprocessing"])
    image = decode(photograph("flower").read_bytes(), spec, 10**8)
    blank = np.zeros_like(image)
    client = TorchServeClient(read_settings())
    (endpoint,) = endpoints(torchserve.address)
    alone = client.predict(endpoint, model, pack([image]), 1)[0]
    among = client.predict(endpoint, model, pack([blank, image, blank]), 3)[1]
    assert isinstance(alone, Answer)
    assert isinstance(among, Answer)
    assert model.labels[alone.top[0][0]] == "daisy"
    assert among.top[0][0] == alone.top[0][0]
    assert among.top[0][1] == pytest.approx(alone.top[0][1], abs=1e-3)
