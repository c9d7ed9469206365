"""The command on a real database: what is shown, what is written, what is changed."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sluice import cli
from sluice.domain import ListedObject
from sluice.ledger import (
    Database,
    LedgerCursor,
    Prediction,
    QuarantineEntry,
    jobs,
    listing,
    models,
    objects,
    predictions,
    schema,
)
from sluice.settings import read_settings
from tests.support.model_archives import write_archive
from tools.stack import TorchServe

Sluice = Callable[..., tuple[int, str, str]]

KEYS = [
    b"=formula.jpg",
    b"[bold]markup[bold].jpg",
    b"esc\x1b[31mred.jpg",
    b"line\nbreak.jpg",
    b'quo"te,comma.jpg',
    "aünï.jpg".encode(),
    b"y.jpg",
    b"z.jpg",
]


@pytest.fixture
def sluice(database_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Sluice:
    """Run the command in this process; give exit code, output and what went to standard error."""
    monkeypatch.setenv("SLUICE_DATABASE_URL", database_url)

    def run(*arguments: str | int) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sluice", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (int(ended.value.code or 0), *capfd.readouterr())

    return run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for key in KEYS:
        (folder / key.decode()).write_bytes(key * 3)
    return folder


@pytest.fixture
def job(ledger: Database, photos: Path) -> int:
    """Make a job on the folder that is done: the last two objects quarantined, the rest classified."""
    return ledger.run(_fill, photos)


def _fill(cursor: LedgerCursor, photos: Path) -> int:
    model = models.register(cursor, "m", "1", "a" * 64, {"resize": 2}, ["cat"])
    models.promote(cursor, "m", "1")
    job = jobs.submit(cursor, f"file://{photos}")
    jobs.start(cursor, job, model.id)
    found = [(key, (photos / key.decode()).stat()) for key in sorted(KEYS)]
    page = [ListedObject(key, f"{stat.st_mtime_ns}-{stat.st_size}", stat.st_size) for key, stat in found]
    listing.add_page(cursor, job, page, repeat_no=0, last=True, repeats=1)
    pending = objects.pending(cursor, job, 0, 100)
    predictions.commit(
        cursor,
        [
            Prediction(
                row.id, job, model.id, "=cat", 0.75, (("=cat", 0.75),), hashlib.sha256(row.key * 3).digest(), "c"
            )
            for row in pending[:-2]
        ],
    )
    objects.quarantine(cursor, [QuarantineEntry(row.id, "truncated", "cut\x1b[2J off") for row in pending[-2:]])
    assert jobs.finish(cursor, job)
    return job


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
    """A prefix with a typing error must not look like work that was done."""

    def list_nothing(cursor: LedgerCursor, *_: object, **__: object) -> int:
        cursor.execute("INSERT INTO jobs (source, state) VALUES ('s3://photos/*.jpg', 'done')")
        return int(cursor.lastrowid)

    monkeypatch.setattr("sluice.ledger.jobs.submit", list_nothing)
    code, _, err = sluice("submit", "s3://photos/*.jpg", "--wait")
    assert code == 1
    assert "nothing is under s3://photos/*.jpg" in err


def urls(photos: Path) -> list[str]:
    return [f"file://{photos}/{key.decode()}" for key in sorted(KEYS)[:-2]]


def test_csv_keeps_names_whole_and_disarms_formulas(sluice: Sluice, job: int, photos: Path) -> None:
    code, out, _ = sluice("results", job, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert code == 0
    assert [row["url"] for row in rows] == urls(photos)
    assert {row["label"] for row in rows} == {"'=cat"}


@pytest.mark.usefixtures("job")
def test_jsonl_keeps_everything_and_no_control_character(sluice: Sluice, photos: Path) -> None:
    _, out, _ = sluice("results", "last", "--format", "jsonl", "--limit", 3)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["url"] for row in rows] == urls(photos)[:3]
    assert rows[0]["top"] == [{"label": "=cat", "score": 0.75}]
    assert "\x1b" not in out


def test_the_table_shows_names_as_text(sluice: Sluice, job: int) -> None:
    _, out, _ = sluice("results", job)
    assert "[bold]markup[bold].jpg" in out.replace("\n", "")
    assert "esc\\x1b[31mred.jpg" in out
    assert "\x1b" not in out


def test_parquet_goes_to_a_file_that_appears_whole(sluice: Sluice, job: int, photos: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    target = tmp_path / "out.parquet"
    assert sluice("results", job, "--format", "parquet", "--output", target)[0] == 0
    table = parquet.read_table(target)
    assert table.column("url").to_pylist() == urls(photos)
    assert table.column("top").to_pylist()[0] == [{"label": "=cat", "score": 0.75}]
    assert [path.name for path in tmp_path.glob("out*")] == ["out.parquet"]


def test_parquet_without_pyarrow_says_the_remedy(sluice: Sluice, job: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    code, _, err = sluice("results", job, "--format", "parquet", "--output", "x")
    assert code == 2
    assert "pip install" in err


def test_pages_make_the_same_rows_as_one_piece(sluice: Sluice, job: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for as_format in ("csv", "jsonl"):
        whole = sluice("results", job, "--format", as_format)[1]
        monkeypatch.setattr("sluice.cli.results.PAGE", 1)
        assert sluice("results", job, "--format", as_format)[1] == whole
        monkeypatch.undo()


def test_an_output_that_cannot_be_written_is_said(sluice: Sluice, job: int, tmp_path: Path) -> None:
    code, _, err = sluice("results", job, "--format", "csv", "--output", tmp_path / "absent" / "x")
    assert code == 2
    assert "--output" in err


def test_the_quarantine_is_listed_shown_and_replayed(sluice: Sluice, job: int) -> None:
    lines = sluice("quarantine", "list", job, "--json")[1].splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["reason"] for row in rows] == ["truncated", "truncated"]
    assert "\x1b" not in sluice("quarantine", "list")[1]
    assert "the upload was probably cut off" in sluice("quarantine", "show", rows[0]["id"])[1]
    assert sluice("quarantine", "list", "--reason", "empty")[1] == "nothing is in quarantine for empty\n"
    assert sluice("quarantine", "list", "--reason", "nonsense")[0] == 2
    assert sluice("quarantine", "replay")[0] == 2
    assert sluice("quarantine", "replay", "--id", rows[0]["id"])[1] == "made 1 object pending again\n"
    assert sluice("quarantine", "replay", "--id", rows[0]["id"])[0] == 1
    assert sluice("quarantine", "replay", job)[1] == "made 1 object pending again\n"
    assert sluice("status", job)[1].startswith(f"job {job} running: 6 of 8 (75 %)")
    assert sluice("quarantine", "show", rows[0]["id"])[0] == 1


@pytest.mark.usefixtures("job")
def test_check_names_what_it_verified(sluice: Sluice) -> None:
    code, out, _ = sluice("check")
    assert code == 0
    assert [line.split()[1] for line in out.splitlines() if line.startswith("I")] == [
        "holds",
        "holds",
        "not",
        "not",
        "holds",
        "holds",
        "not",
    ]
    code, out, _ = sluice("check", "--bytes", 100)
    assert code == 0
    assert "6 of 6 objects read again have the same bytes" in out


@pytest.mark.usefixtures("job")
def test_check_finds_other_bytes_and_says_what_cannot_be_compared(
    sluice: Sluice, ledger: Database, photos: Path
) -> None:
    """A file that went or changed since can't be compared: that breaks nothing."""
    (photos / KEYS[0].decode()).unlink()
    (photos / KEYS[1].decode()).write_bytes(b"other")
    assert sluice("check", "--bytes", 100)[0] == 0
    ledger.run(lambda cursor: cursor.execute("UPDATE predictions SET sha256 = REPEAT('x', 32)"))
    code, out, _ = sluice("check", "--bytes", 100)
    assert code == 1
    assert "4 predictions were made from other bytes" in out
    assert "not_found" in out
    assert "changed" in out


@pytest.mark.usefixtures("job")
def test_check_names_the_rows_that_break_an_invariant(sluice: Sluice, ledger: Database) -> None:
    ledger.run(lambda cursor: cursor.execute("DELETE FROM predictions ORDER BY object_id LIMIT 1"))
    code, out, _ = sluice("check")
    assert code == 1
    assert "I6  BROKEN" in out
    assert "done objects without a prediction" in out


def test_a_served_model_is_registered_from_its_address(
    sluice: Sluice, ledger: Database, torchserve: TorchServe
) -> None:
    """And is the same as from its archive."""
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
    ledger.run(lambda cursor: cursor.execute("UPDATE alembic_version SET version_num = '9999'"))
    code, out, _ = sluice("db", "upgrade")
    assert (code, out) == (0, "the tables are at revision 9999, this version's are 0001: they serve it as they are\n")
    assert sluice("db", "current")[:2] == (0, "9999 (of a newer version of Sluice; this one's newest is 0001)\n")


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
    """Rows as a table or as CSV, a count of what was changed, and the database's own words where it refuses."""
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

    code, _, told = sluice("sql", "SELEKT 1")
    assert code == 1
    assert "SQL syntax" in told
