"""Trainings from their rows to archives, by a real trainer on a real database and a real S3 server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from sluice.ledger import Database, LedgerCursor, models, schema, trainings
from sluice.ledger.models import StoredArchive
from sluice.ledger.trainings import DEATHS_MAX, Reached, Training, Wish
from sluice.objects.files import BucketFiles
from sluice.settings import Settings
from sluice.store.card import archived_card
from tests.support.cli_runs import Sluice, run_in_process
from tests.support.labelled_pictures import drawing, labelled
from tests.support.trainers import Trainers, ended, fill
from tools.stack import S3Server, Servers

STAGES: Final = ("", "listing", "reading", "features", "fitting", "tuning", "measuring", "packing")


@pytest.fixture
def trainers(servers: Servers, database_url: str, s3: S3Server, bucket: str, tmp_path: Path) -> Iterator[Trainers]:
    started = Trainers(servers, database_url, s3, bucket, tmp_path)
    yield started
    started.stop()


@pytest.fixture
def sluice(database_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Sluice:
    return run_in_process({"SLUICE_DATABASE_URL": database_url}, monkeypatch, capfd)


def test_folders_become_a_model_whose_card_says_how_good_it_is(
    trainers: Trainers, ledger: Database, s3: S3Server, bucket: str, s3_settings: Settings, tmp_path: Path
) -> None:
    broken = {"circle/broken.png": drawing("circle", 1)[:99], "circle/.DS_Store": b"x"}
    source = fill(s3, bucket, {**labelled(), **broken})
    training = ledger.run(trainings.submit, Wish("shapes", source, made_by="somebody"))
    worker = trainers.start("models", "--until-idle")
    found = ended(ledger, training, worker)
    assert (found.state, found.version, found.message) == ("done", "1.0", "")
    assert worker.wait(60) == 0, worker.log_tail()
    assert trainers.stored("models/_features/")
    assert trainers.stored("models/_trainings/") == [], "the notes of what is done go"
    assert any("broken.png" in finding for finding in found.findings)
    assert not any("DS_Store" in finding for finding in found.findings)
    model = ledger.run(models.find, "shapes", "1.0")
    assert model is not None
    assert (model.id, model.labels, model.live) == (found.model_id, ["circle", "square"], False)
    assert model.card["metrics"]["test_pictures"] >= 2
    assert model.card["metrics"]["accuracy_low"] <= model.card["metrics"]["accuracy"]
    assert model.card["made_by"] == "somebody"
    assert any("may as well be" in finding for finding in model.card["findings"])
    (archive,) = trainers.stored("models/shapes/1.0/") and [
        key for key in trainers.stored("models/shapes/1.0/") if key.endswith(".mar")
    ]
    with closing(BucketFiles(trainers.store_bucket, s3_settings)) as opened:
        opened.download(archive, tmp_path / "shapes.mar")
    assert archived_card(tmp_path / "shapes.mar")["digest"] == model.digest
    assert {f"models/{key}" for key in model.card["pictures"].values()} <= set(trainers.stored("models/"))


def test_a_killed_training_goes_on_to_the_same_model(
    trainers: Trainers, ledger: Database, s3: S3Server, bucket: str
) -> None:
    """Once undisturbed, and once killed in each of its longer stages; with a store of its own each time."""
    source = fill(s3, bucket, labelled())
    wish = Wish("shapes", source, fine_tune=True)
    training = ledger.run(trainings.submit, wish)
    worker = trainers.start("calm")
    calm = ended(ledger, training, worker)
    worker.stop()
    training = ledger.run(trainings.submit, wish)
    worker = trainers.start("killed")
    for stage in ("reading", "features", "tuning"):
        reached(ledger, training, stage)
        worker.kill()
        worker.start()
    killed = ended(ledger, training, worker)
    assert (calm.state, killed.state) == ("done", "done"), (calm, killed)
    assert digest(ledger, calm) == digest(ledger, killed)


def test_a_cancelled_training_stops_and_goes_on_when_asked(
    trainers: Trainers, ledger: Database, s3: S3Server, bucket: str
) -> None:
    training = ledger.run(trainings.submit, Wish("shapes", fill(s3, bucket, labelled())))
    worker = trainers.start()
    reached(ledger, training, "reading")
    ledger.run(trainings.cancel, training)
    other = ledger.run(trainings.submit, Wish("others", f"s3://{bucket}/"))
    assert ended(ledger, other, worker).state == "done"
    cancelled = ledger.run(trainings.get, training)
    assert cancelled is not None
    assert (cancelled.state, cancelled.model_id) == ("cancelled", None)
    ledger.run(trainings.retry, training)
    assert ended(ledger, training, worker).state == "done"


def test_what_cant_be_trained_fails_with_the_cause_and_leaves_nothing(
    trainers: Trainers, ledger: Database, s3: S3Server, bucket: str
) -> None:
    """One trainer is told of all of them, and goes on after each."""
    source = fill(s3, bucket, labelled())
    causes = (
        (Wish("m", "s3://no-such-bucket-here/"), "does not exist"),
        (Wish("m", f"{source}nothing/"), "no pictures"),
        (Wish("m", source, base="no-such"), "the base 'no-such'"),
        (Wish("m", source, base="noop"), "no last layer"),
        (Wish("m", corrections=True), "no pictures"),
        (Wish("m", source, test=f"{source}nothing/"), "no pictures to test on"),
    )
    asked = [(ledger.run(trainings.submit, wish), told) for wish, told in causes]
    worker = trainers.start()
    for training, told in asked:
        found = ended(ledger, training, worker)
        assert (found.state, found.model_id) == ("failed", None), told
        assert told in found.message
    assert ledger.run(models.list_models) == []
    assert [key for key in trainers.stored("models/") if key.endswith(".mar")] == []


def test_people_ask_by_command_line_with_a_csv_and_see_what_came_of_it(
    trainers: Trainers, ledger: Database, sluice: Sluice, tmp_path: Path
) -> None:
    for key, data in labelled().items():
        (tmp_path / key.replace("/", "-")).write_bytes(data)
    lines = [f"{key.replace('/', '-')};{key.partition('/')[0]}" for key in labelled()]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    worker = trainers.start()
    code, out, err = sluice("train", "--name", "shapes", "--labels", str(tmp_path / "labels.csv"), "--wait")
    assert code == 0, (out, err, worker.log_tail())
    assert "accuracy" in out
    code, out, _ = sluice("trainings", "list")
    assert (code, "shapes@1.0" in out) == (0, True)
    code, out, _ = sluice("trainings", "show", "last")
    assert "sluice models promote shapes@1.0" in out
    assert sluice("trainings", "cancel", "last")[0] == 1
    assert sluice("train", "--name", "shapes")[0] == 2
    assert sluice("train", "s3://photos/", "--name", "shapes", "--version", "1.0")[0] == 2
    code, out, _ = sluice("train", "--name", "more", "--sql", "SELECT 's3://b/1.jpg' AS url, 'cat' AS label")
    assert code == 0
    assert ledger.run(trainings.labels_of, int(out), 0, 10)[0][1:] == ("s3://b/1.jpg", "cat")


def test_a_training_has_one_trainer_at_a_time(ledger: Database) -> None:
    training = ledger.run(trainings.submit, Wish("m", "s3://photos/"))
    first = ledger.run(trainings.claim, "one")
    assert first is not None
    assert (first.id, first.version, first.trainer) == (training, "1.0", "one")
    assert ledger.run(trainings.claim, "two") is None
    again = ledger.run(trainings.claim, "one")
    assert again is not None
    assert again.deaths == 1
    silent(ledger, training)
    taken = ledger.run(trainings.claim, "two")
    assert taken is not None
    assert not ledger.run(trainings.beat, training, "one", Reached("features", 1, 2))
    assert ledger.run(trainings.beat, training, "two", Reached("features", 1, 2, 3.5, "", came_further=True))
    found = ledger.run(trainings.get, training)
    assert found is not None
    assert (found.done, found.total, found.eta_seconds, found.deaths) == (1, 2, 3.5, 0)
    assert ledger.run(trainings.finish, training, "one", {}, StoredArchive("0" * 64, 1)) is None


def test_a_training_that_ends_its_trainers_fails(ledger: Database) -> None:
    training = ledger.run(trainings.submit, Wish("m", "s3://photos/"))
    for _ in range(DEATHS_MAX):
        assert ledger.run(trainings.claim, "one") is not None
    assert ledger.run(trainings.claim, "one") is None
    found = ledger.run(trainings.get, training)
    assert found is not None
    assert found.state == "failed"
    assert "without coming further" in found.message


def test_tables_of_trainings_come_and_go(ledger: Database, settings: Settings) -> None:
    ledger.run(trainings.submit, Wish("m", "s3://photos/"), [("s3://photos/1.jpg", "cat")])
    schema.downgrade(settings, "0006")
    assert ledger.run(models.list_models) == []
    schema.upgrade(settings)
    assert ledger.run(trainings.newest) == []


def reached(ledger: Database, training: int, stage: str) -> Training:
    """Wait until a training is at a stage, or beyond it."""
    while True:
        found = ledger.run(trainings.get, training)
        assert found is not None
        if found.state not in {"pending", "running"} or STAGES.index(found.stage) >= STAGES.index(stage):
            return found
        time.sleep(0.05)


def silent(ledger: Database, training: int) -> None:
    """Let a training's trainer have been silent for long."""

    def age(cursor: LedgerCursor) -> None:
        cursor.execute("UPDATE trainings SET beat = beat - INTERVAL 1 HOUR WHERE id = %s", (training,))

    ledger.run(age)


def digest(ledger: Database, training: Training) -> str:
    model = ledger.run(models.get, training.model_id or 0)
    assert model is not None
    return model.digest
