"""The command on a real database: results, quarantine and `sluice check` of a job that is done."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from sluice.domain import Reason
from sluice.ledger import (
    Database,
)
from tests.support.cli_runs import KEYS, Sluice, add_done_job, odd_photos, run_in_process


@pytest.fixture
def sluice(database_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Sluice:
    return run_in_process({"SLUICE_DATABASE_URL": database_url}, monkeypatch, capfd)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return odd_photos(tmp_path / "photos")


@pytest.fixture
def job(ledger: Database, photos: Path) -> int:
    return ledger.run(add_done_job, photos)


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


def test_a_files_name_says_its_format(sluice: Sluice, job: int, tmp_path: Path) -> None:
    for name, chosen, as_format in (
        ("rows.csv", (), "csv"),
        ("rows.JSONL", (), "jsonl"),
        ("rows.csv", ("--format", "jsonl"), "jsonl"),
        ("rows.txt", (), "table"),
    ):
        target = tmp_path / name
        assert sluice("results", job, *chosen, "--output", target)[0] == 0
        assert target.read_bytes().decode() == sluice("results", job, "--format", as_format)[1]


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
    assert rows[0]["remedy"] == Reason.TRUNCATED.remedy
    shown = sluice("quarantine", "show", rows[0]["id"])[1]
    assert "the upload was probably cut off" in shown
    assert Reason.TRUNCATED.remedy in shown
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
    """A file that was deleted or changed since can't be compared, which breaks nothing."""
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
