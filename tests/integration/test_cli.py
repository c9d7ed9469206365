"""The command on a real database: what it shows, writes and changes."""

from __future__ import annotations

import csv
import io
import json
import threading
from pathlib import Path

import pytest

from sluice.ledger import (
    Database,
    LedgerCursor,
    jobs,
    listing,
    models,
    schema,
)
from sluice.settings import read_settings
from tests.support.cli_runs import KEYS, Sluice, add_done_job, odd_photos, run_in_process
from tests.support.ledger_rows import register
from tests.support.model_archives import write_archive
from tools.stack import TorchServe


@pytest.fixture
def sluice(database_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Sluice:
    return run_in_process({"SLUICE_DATABASE_URL": database_url}, monkeypatch, capfd)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return odd_photos(tmp_path / "photos")


@pytest.fixture
def job(ledger: Database, photos: Path) -> int:
    return ledger.run(add_done_job, photos)


def test_a_job_is_submitted_steered_and_listed(sluice: Sluice) -> None:
    code, out, err = sluice("submit", "s3://photos", "--priority", 3, "--repeat", 2)
    assert (code, out) == (0, "1\n")
    assert "no live model" in err
    assert sluice("jobs", "pause", "last")[1] == "job 1 is paused\n"
    assert sluice("jobs", "resume", 1)[1] == "job 1 is pending\n"
    assert sluice("jobs", "priority", 1, -5)[1] == "job 1 has priority -5\n"
    assert "s3://photos/ (x 2)" in sluice("jobs", "list")[1]
    assert sluice("jobs", "cancel", 1)[1] == "job 1 is cancelled\n"
    assert sluice("jobs", "resume", 1)[0] == 1
    assert sluice("jobs", "pause", 99)[0] == 1


def test_a_training_says_that_it_waits_for_a_trainer(sluice: Sluice) -> None:
    assert sluice("train", "s3://photos/labelled/", "--name", "drugs")[:2] == (0, "1\n")
    for arguments in (["trainings", "show", "last"], ["trainings", "list"]):
        assert "waits for a trainer (`python -m trainer`)" in sluice(*arguments)[1]


def test_a_model_that_is_not_there_is_refused_when_it_is_named(sluice: Sluice) -> None:
    code, out, err = sluice("submit", "s3://photos", "--model", "absent")
    assert (code, out) == (2, "")
    assert "sluice models" in err
    assert sluice("status")[1] == ""


def test_of_two_live_models_one_must_be_named(sluice: Sluice, ledger: Database, job: int) -> None:
    assert sluice("submit", "s3://photos")[:2] == (0, f"{job + 1}\n")

    def another(cursor: LedgerCursor) -> None:
        models.register(cursor, "n", "2", "b" * 64, {}, ["dog"])
        models.promote(cursor, "n", "2")

    ledger.run(another)
    code, out, err = sluice("submit", "s3://photos")
    assert (code, out) == (2, "")
    assert err == "error: several models are live (m@1, n@2): say which, with --model or in the job's `model`\n"
    assert sluice("submit", "s3://photos", "--model", "n")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit", "s3://photos", "--watch-seconds", "5"],
        ["quarantine", "replay", "1", "--all"],
        ["quarantine", "replay", "--id", "1", "--all"],
    ],
)
def test_options_that_contradict_each_other_are_refused(sluice: Sluice, arguments: list[str]) -> None:
    code, out, err = sluice(*arguments)
    assert (code, out) == (2, "")
    assert "leave it out" in err


def test_status_of_a_job_and_of_all(sluice: Sluice, job: int) -> None:
    said = f"job {job} done: 8 of 8 (100 %), 2 quarantined\n"
    assert sluice("status", job) == (0, said, "")
    assert sluice("status") == (0, said, "")
    assert sluice("status", "last", "--watch") == (0, said, "")
    shown = json.loads(sluice("status", job, "--json")[1])
    assert (shown["done"], shown["quarantined"], shown["state"]) == (6, 2, "done")
    assert [each["job"] for each in json.loads(sluice("status", "--json")[1])] == [job]
    assert json.loads(sluice("status", job, "--json", "--watch")[1]) == shown


def test_a_failed_job_is_exit_code_1(sluice: Sluice, ledger: Database) -> None:
    def fail(cursor: LedgerCursor) -> None:
        job = jobs.submit(cursor, "s3://photos")
        jobs.fail(cursor, job, "bucket\x1b[2J is gone")

    ledger.run(fail)
    code, out, _ = sluice("status", "last")
    assert code == 1
    assert out == "job 1 failed: 0 of 0 (0 %), listing not complete, bucket\\x1b[2J is gone\n"


def test_the_summary_after_waiting(sluice: Sluice, job: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluice.ledger.jobs.submit", lambda *_, **__: job)
    code, out, _ = sluice("submit", "s3://photos", "--wait")
    assert code == 0
    assert "6 done, 2 quarantined" in out
    assert "truncated" in out
    assert f"WHERE job = {job} ORDER BY score DESC" in out


def test_waiting_for_nothing_is_exit_code_1(sluice: Sluice, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prefix with a typo must not look like finished work."""

    def list_nothing(cursor: LedgerCursor, *_: object, **__: object) -> int:
        model = register(cursor)
        cursor.execute("INSERT INTO jobs (source) VALUES ('s3://photos/*.jpg')")
        number = int(cursor.lastrowid)
        assert jobs.start(cursor, number, model)
        listing.add_page(cursor, number, [], repeat_no=0, last=True, repeats=1)
        assert jobs.finish(cursor, number)
        return number

    monkeypatch.setattr("sluice.ledger.jobs.submit", list_nothing)
    code, _, err = sluice("submit", "s3://photos/*.jpg", "--wait")
    assert code == 1
    assert "s3://photos/*.jpg: nothing is under this prefix" in err


def test_a_served_model_is_registered_from_its_address(
    sluice: Sluice, ledger: Database, torchserve: TorchServe
) -> None:
    """It is the same as from its archive."""
    url = f"{torchserve.address.replace('127.0.0.1', 'localhost')}/predictions/noop/1.0"
    assert sluice("models", "register", url, "--promote")[:2] == (0, "noop@1.0 is registered and live\n")
    served = ledger.run(models.list_models)
    archive = next(path for path in torchserve.archives if path.name == "noop.mar")
    assert sluice("models", "register", archive)[0] == 0
    assert ledger.run(models.list_models) == served
    code, _, err = sluice("models", "register", url.replace("1.0", "9.9"), "--wait", 0.1)
    assert code == 3
    assert "Model version: 9.9 does not exist" in err


def test_registering_waits_for_the_tables(sluice: Sluice, database_url: str, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "m.mar")
    assert sluice("db", "downgrade", "base", "--yes")[0] == 0
    code, _, err = sluice("models", "register", archive, "--wait", 2)
    assert code == 3
    assert err.startswith("waiting, 2 s at most: the ledger has no tables yet: run `sluice db upgrade`")
    assert err.count("waiting") == 1
    upgrading = threading.Timer(1.0, schema.upgrade, [read_settings(database_url=database_url)])
    upgrading.start()
    assert sluice("models", "register", archive, "--promote", "--wait", 60)[:2] == (0, "m@1.0 is registered and live\n")
    upgrading.join()


def test_the_tables_of_a_newer_version_are_said_and_are_no_error(sluice: Sluice, ledger: Database) -> None:
    newest = sluice("db", "current")[1].split()[0]
    ledger.run(lambda cursor: cursor.execute("UPDATE alembic_version SET version_num = '9999'"))
    code, out, _ = sluice("db", "upgrade")
    said = f"the tables are at revision 9999, this version's are {newest}: they serve it as they are\n"
    assert (code, out) == (0, said)
    assert sluice("db", "current")[:2] == (0, f"9999 (of a newer version of Sluice; this one's newest is {newest})\n")


def test_an_upgrade_waits_for_a_database_in_time(sluice: Sluice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_DATABASE_URL", "mysql://u@127.0.0.1:9/x")
    code, out, err = sluice("db", "upgrade", "--wait", 2)
    assert (code, out) == (3, "")
    assert err.count("waiting, 2 s at most: the database gives no answer") == 1
    assert "error: the database gives no answer (2003" in err


@pytest.mark.usefixtures("job")
def test_models_and_tables(sluice: Sluice) -> None:
    assert "m@1" in sluice("models", "list")[1]
    assert sluice("models", "promote", "m@1")[1] == "m@1 is live\n"
    assert sluice("models", "promote", "m@2")[0] == 2
    assert sluice("db", "current")[0] == 0
    assert sluice("db", "downgrade", "base", "--yes")[0] == 0
    assert sluice("db", "current")[0] == 1
    code, _, err = sluice("status")
    assert code == 3
    assert "sluice db upgrade" in err
    assert sluice("db", "upgrade")[0] == 0
    assert sluice("db", "current")[0] == 0


def test_sql_shows_what_a_statement_gives(sluice: Sluice, job: int) -> None:
    """Rows as a table or as CSV, a count of changed rows, and the database's own message for an error."""
    code, shown, _ = sluice("sql", f"SELECT url, label FROM results WHERE job = {job} AND url LIKE '%esc%'")
    assert code == 0
    assert "label" in shown
    assert "cat" in shown
    assert "\x1b" not in shown

    code, shown, _ = sluice("sql", "--csv", f"SELECT COUNT(*) AS n, NULL AS nothing FROM results WHERE job = {job}")
    assert list(csv.reader(io.StringIO(shown))) == [["n", "nothing"], [str(len(KEYS) - 2), "NULL"]]

    code, shown, _ = sluice(
        "sql", "--csv", f"SELECT object_key, -1, -1.5 AS d FROM objects WHERE job_id = {job} LIMIT 1"
    )
    assert list(csv.reader(io.StringIO(shown))) == [["object_key", "'-1", "d"], ["'=formula.jpg", "-1", "-1.5"]]

    assert sluice("sql", f"UPDATE jobs SET priority = 3 WHERE id = {job}")[:2] == (0, "1 row changed\n")
    assert sluice("sql", f"SELECT priority FROM jobs WHERE id = {job}")[1].split() == ["priority", "3"]

    code, shown, _ = sluice("sql", "--csv", "SELECT 1, 1, 1, 2")
    assert list(csv.reader(io.StringIO(shown)))[1] == ["1", "1", "1", "2"], "columns may share a name"

    for statement, words in (
        ("SELEKT 1", "SQL syntax"),
        ("SELECT lable FROM results", "Unknown column"),
        ("SELECT * FROM nosuch", "doesn't exist"),
        (f"INSERT INTO jobs (id, source) VALUES ({job}, 's3://x')", "Duplicate entry"),
    ):
        code, _, told = sluice("sql", statement)
        assert (code, words in told, "sluice db" in told, "sluice check" in told) == (1, True, False, False), told
