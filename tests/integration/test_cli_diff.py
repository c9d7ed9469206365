"""`sluice diff` and `sluice submit --again` on a real database: what they print, and what they refuse."""

from __future__ import annotations

import csv
import io

import pytest

from sluice.ledger import Database, again, jobs
from sluice.ledger.again import Repetition
from tests.support.cli_runs import Sluice, run_in_process
from tests.support.compared_jobs import add_job, add_version

BEFORE = {b"a": ("cat", 0.5), b"b": ("cat", 1.0), b"c": ("dog", 0.25), b"=d": ("cow", 0.5)}
AFTER = {b"a": ("cat", 0.75), b"b": ("dog", 0.5), b"c": ("cow", 0.25), b"e": ("cow", 0.5)}


@pytest.fixture
def sluice(database_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Sluice:
    return run_in_process({"SLUICE_DATABASE_URL": database_url}, monkeypatch, capfd)


@pytest.fixture
def pair(ledger: Database) -> tuple[int, int]:
    return add_job(ledger, BEFORE, "1"), add_job(ledger, AFTER, "2")


def test_the_largest_changes_come_first(sluice: Sluice, pair: tuple[int, int]) -> None:
    code, out, _ = sluice("diff", *pair)
    assert code == 0
    assert f"jobs {pair[0]} and {pair[1]}: 1 the same, 2 changed, 1 gone, 1 new" in out
    assert out.index("s3://photos/b") < out.index("s3://photos/c")
    assert "0.750" in out
    assert sluice("diff", "animals@1", "animals@2")[1] == out


def test_csv_has_all_rows_of_a_kind(sluice: Sluice, pair: tuple[int, int]) -> None:
    def rows(*options: object) -> list[dict[str, str]]:
        code, out, _ = sluice("diff", *pair, "--format", "csv", *options)
        assert code == 0
        return list(csv.DictReader(io.StringIO(out, newline="")))

    assert [(row["url"], row["size"]) for row in rows()] == [("s3://photos/b", "0.75"), ("s3://photos/c", "0.25")]
    assert [row["url"] for row in rows("--from", "dog", "--to", "cow")] == ["s3://photos/c"]
    assert [(row["url"], row["before_label"], row["after_label"]) for row in rows("--kind", "gone")] == [
        ("s3://photos/=d", "cow", "")
    ]
    assert [row["url"] for row in rows("--kind", "new", "--to", "cow")] == ["s3://photos/e"]
    assert len(rows("--limit", 1)) == 1


def test_what_makes_no_sense_is_said(sluice: Sluice, pair: tuple[int, int]) -> None:
    for arguments, code, told in (
        ((pair[0], pair[0]), 2, "itself"),
        ((pair[0], 999), 1, "no job 999"),
        ((pair[0], "animals@2"), 2, "name two"),
        ((*pair, "--from", "cat"), 2, "both --from and --to"),
        ((*pair, "--kind", "gone", "--to", "cat"), 2, "one label"),
    ):
        found, _, err = sluice("diff", *arguments)
        assert (found, told in err) == (code, True), err


def test_a_job_is_submitted_again(sluice: Sluice, ledger: Database, pair: tuple[int, int]) -> None:
    ledger.run(lambda cursor: add_version(cursor, "2", live=True))
    code, out, _ = sluice("submit", "--again", pair[0], "--model", "animals@2", "--below", 0.6, "--label", "cat")
    assert code == 0
    made = ledger.run(jobs.get, int(out))
    assert made
    assert (made.source, made.model) == ("s3://photos/", "animals@2")
    assert ledger.run(again.of_job, made.id) == Repetition(pair[0], 0.6, "cat")


def test_what_cannot_be_submitted_again_is_said(sluice: Sluice, pair: tuple[int, int]) -> None:
    for arguments, told in (
        ((), "nothing to classify"),
        (("s3://photos", "--again", pair[0]), "the one or the other"),
        (("--again", pair[0], "--watch"), "leave --archives, --watch and --repeat out"),
        (("s3://photos", "--below", 0.5), "--again JOB"),
        (("--again", pair[0], "--label", "catt", "--model", "animals@1"), "knows no label"),
        (("--again", pair[0], "--model", "animals@9"), "animals@9"),
    ):
        code, _, err = sluice("submit", *arguments)
        assert (code, told in err) == (2, True), err
