"""Retention: what goes, what never does, and that the invariants hold wherever a prune is cut off."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from sluice.domain import ListedObject
from sluice.ledger import (
    Database,
    LedgerCursor,
    PageChanges,
    again,
    check,
    comparisons,
    jobs,
    listing,
    pictures,
    pruning,
    reports,
)
from sluice.ledger.again import Repetition
from sluice.ledger.pictures import Picture
from sluice.ledger.pruning import PruneWish
from sluice.settings import Settings
from tests.support.cli_runs import Sluice, run_in_process
from tests.support.compared_jobs import Said, add_job, age
from tests.support.ledger_rows import ask, breaches, register

SAID: dict[bytes, Said] = {b"a": ("cat", 0.5), b"b": ("dog", 0.5), b"c": None}


@pytest.fixture
def sluice(database_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Sluice:
    return run_in_process({"SLUICE_DATABASE_URL": database_url}, monkeypatch, capfd)


def there(database: Database) -> list[int]:
    return [job.id for job in database.run(jobs.list_jobs)]


def test_by_age_and_by_count(ledger: Database, sluice: Sluice) -> None:
    old, newer, newest, running = (add_job(ledger, SAID, end=number < 3) for number in range(4))
    for job, days in ((old, 100), (newer, 10), (newest, 1)):
        age(ledger, job, days)
    cases: list[tuple[list[Any], list[int]]] = [
        (["--older-than", 200], []),
        (["--older-than", 90], [old]),
        (["--keep", 1], [old, newer]),
        (["--keep", 1, "--older-than", 90], [old]),
        (["--keep", 0], [old, newer, newest]),
    ]
    for options, expected in cases:
        code, out, _ = sluice("jobs", "prune", *options, "--dry-run")
        assert code == 0
        said = dict(zip(options[::2], options[1::2], strict=True))
        wish = PruneWish(said.get("--older-than"), said.get("--keep"))
        assert [job.id for job in ledger.run(pruning.prunable, wish)] == expected
        assert ("nothing was changed" in out) == bool(expected)
    assert there(ledger) == [old, newer, newest, running]
    code, out, _ = sluice("jobs", "prune", "--keep", 0)
    assert (code, out.strip()) == (0, "3 jobs deleted, with 9 objects")
    assert there(ledger) == [running]
    for table in ("objects", "predictions", "counters", "listings"):
        assert {row["job_id"] for row in ask(ledger, f"SELECT job_id FROM {table}")} == {running}
    assert breaches(ledger) == []
    assert sluice("jobs", "prune", "--keep", 0)[0] == 0
    assert sluice("jobs", "prune")[0] == 2
    for wrong in (["--older-than", "inf"], ["--older-than", "nan"], ["--keep", "99999999999999999999999"]):
        code, _, err = sluice("jobs", "prune", *wrong, "--dry-run")
        assert code == 2
        assert wrong[0] in err


def test_what_is_left_of_a_job_that_was_deleted_by_hand(ledger: Database, sluice: Sluice) -> None:
    deleted, stays = add_job(ledger, SAID, end=False), add_job(ledger, SAID, end=False)
    ask(ledger, "DELETE FROM jobs WHERE id = %s", deleted)
    assert breaches(ledger) == [f"I1: {check.DELETED_BY_HAND}"]
    code, out, _ = sluice("jobs", "prune", "--older-than", 36500, "--dry-run")
    assert code == 0
    assert "its row was deleted" in out
    assert "1 job with 3 objects would go" in out
    assert [job.id for job in ledger.run(pruning.orphaned)] == [deleted]
    assert ledger.run(pruning.prune, stays) == (0, False)
    assert sluice("jobs", "prune", "--older-than", 36500)[:2] == (0, "1 job deleted, with 3 objects\n")
    for table in ("objects", "predictions", "counters", "listings"):
        assert {row["job_id"] for row in ask(ledger, f"SELECT job_id FROM {table}")} == {stays}
    assert breaches(ledger) == []
    assert ledger.run(pruning.orphaned) == []


def test_a_standing_job_that_was_deleted_by_hand(ledger: Database, sluice: Sluice) -> None:
    """A picture that is dropped afterwards has a job again, and a prune removes what is left of the one before."""
    model = ledger.run(register)
    first, second = (
        Picture(7, model, "s3://own/", key, "e", 1, key * 32, "a.jpg", (("cat", 0.9),), "gateway")
        for key in (b"a", b"b")
    )
    ledger.run(pictures.record, [first])
    (deleted,) = ask(ledger, "SELECT job_id FROM standing_jobs")
    ask(ledger, "DELETE FROM jobs WHERE id = %s", deleted["job_id"])
    assert breaches(ledger) == [f"I1: {check.DELETED_BY_HAND}"]
    known = ledger.run(pictures.recall, 7, model, first.sha256, first.source, first.key, 30)
    assert (known.object_id, known.job_id) == (None, None)
    ledger.run(pictures.record, [second])
    (made,) = ask(ledger, "SELECT job_id FROM standing_jobs")
    assert made != deleted
    assert [row["url"] for row in ask(ledger, "SELECT url FROM results")] == ["s3://own/b"]
    assert sluice("jobs", "prune", "--older-than", 36500)[:2] == (0, "1 job deleted, with 1 object\n")
    assert breaches(ledger) == []
    assert len(ask(ledger, "SELECT * FROM pictures")) == 1
    ask(ledger, "DELETE FROM jobs WHERE id = %s", made["job_id"])
    assert sluice("jobs", "prune", "--older-than", 36500)[:2] == (0, "1 job deleted, with 1 object\n")
    for table in ("objects", "predictions", "counters", "listings", "standing_jobs", "pictures", "job_owners"):
        assert ask(ledger, f"SELECT * FROM {table}") == [], table


def test_what_is_needed_stays(ledger: Database) -> None:
    """Neither goes a job that runs again, nor one whose objects another is repeating, nor one that just ended."""
    again_running, repeated, fresh, paused = (add_job(ledger, SAID) for _ in range(4))
    for job in (again_running, repeated, paused):
        age(ledger, job, 10)
    found = [job.id for job in ledger.run(pruning.prunable, PruneWish(keep=0))]
    assert found == [again_running, repeated, paused]
    ask(ledger, "UPDATE jobs SET state = 'running' WHERE id = %s", again_running)
    ask(ledger, "UPDATE jobs SET state = 'paused' WHERE id = %s", paused)
    repeating = ledger.run(again.submit, Repetition(repeated))
    assert [ledger.run(pruning.begin, job) for job in found] == [False] * 3
    assert ledger.run(pruning.prunable, PruneWish(keep=0)) == []
    ask(ledger, "UPDATE jobs SET state = 'done', finished = CURRENT_TIMESTAMP(3) WHERE id = %s", repeating)
    assert ledger.run(pruning.begin, repeated)
    assert there(ledger) == [again_running, repeated, fresh, paused, repeating]


def test_reports_stay_and_comparisons_go(ledger: Database) -> None:
    before, after = add_job(ledger, SAID), add_job(ledger, {b"a": ("dog", 0.5)})
    number = ledger.run(comparisons.begin, before, after)
    while ledger.run(comparisons.advance, number):
        pass
    (row,) = ask(ledger, "SELECT object_id FROM predictions WHERE job_id = %s", after)
    ledger.run(reports.report, row["object_id"], 1, "somebody", "cow")
    age(ledger, after, 1)
    assert ledger.run(pruning.begin, after)
    while ledger.run(pruning.prune, after)[1]:
        pass
    while ledger.run(comparisons.sweep):
        pass
    for table in ("comparisons", "comparison_slices", "comparison_pairs", "differences"):
        assert ask(ledger, f"SELECT * FROM {table}") == []
    (report,) = ledger.run(reports.list_reports, None)
    assert (report.predicted, report.label) == ("dog", "cow")


def test_all_holds_between_two_slices(ledger: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "SLICE", 2)
    job = add_job(ledger, {b"%d" % number: ("cat", 0.5) if number % 3 else None for number in range(7)})
    age(ledger, job, 1)
    assert ledger.run(pruning.begin, job)
    left = 7
    while left:
        gone, more = ledger.run(pruning.prune, job)
        left -= gone
        assert more
        assert breaches(ledger) == []
        (row,) = ask(ledger, "SELECT SUM(listed) AS listed FROM counters WHERE job_id = %s", job)
        assert row["listed"] == left
    assert ledger.run(pruning.prune, job) == (0, False)
    assert there(ledger) == []


def test_nobody_waits_for_it(ledger: Database, settings: Settings) -> None:
    """A row that somebody has locked is left for later, and rows of other jobs aren't locked."""
    job, other = add_job(ledger, SAID), add_job(ledger, SAID)
    age(ledger, job, 1)
    assert ledger.run(pruning.begin, job)
    with Database(settings) as holder:

        def hold(cursor: LedgerCursor) -> None:
            cursor.execute(
                "SELECT id FROM objects WHERE job_id = %s AND repeat_no = 0 AND object_key = 'a' FOR UPDATE", (job,)
            )
            assert ledger.run(pruning.prune, job) == (2, True)
            assert ledger.run(pruning.prune, job) == (0, True)

        holder.run(hold)

        def beside(cursor: LedgerCursor) -> None:
            pruning.prune(cursor, job)
            done = "UPDATE objects SET updated = CURRENT_TIMESTAMP(3) WHERE job_id = %s"
            assert holder.run(lambda theirs: theirs.execute(done, (other,))) == 3

        ledger.run(beside)
    assert ledger.run(pruning.prune, job) == (0, False)


def test_killed_at_any_moment_it_goes_on(ledger: Database, settings: Settings) -> None:
    """Processes that prune are killed until all is deleted; other jobs are whole at any moment."""
    keys = {b"%05d" % number: ("cat", 0.5) for number in range(6000)}
    stays = add_job(ledger, {b"a": ("cat", 0.5)})
    ask(ledger, "UPDATE jobs SET state = 'running' WHERE id = %s", stays)
    for _ in range(3):
        age(ledger, add_job(ledger, keys), 1)
    environment = {**os.environ, "SLUICE_DATABASE_URL": settings.database_url.get_secret_value()}
    command = [sys.executable, "-m", "sluice", "jobs", "prune", "--keep", "0"]
    dice = random.Random(1)
    kills = 0
    while there(ledger) != [stays]:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        ask(ledger, "SELECT COUNT(*) FROM objects")
        left = rows_left(ledger)
        while process.poll() is None and kills < 8:
            if rows_left(ledger) < left - dice.randrange(1, 2000):
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.01)
        process.wait()
        assert breaches(ledger) == []
    assert kills
    assert [row["job_id"] for row in ask(ledger, "SELECT job_id FROM objects")] == [stays]


def rows_left(database: Database) -> int:
    (row,) = ask(database, "SELECT COUNT(*) AS n FROM objects")
    return int(row["n"])


def test_a_change_that_is_found_when_its_job_was_pruned_changes_nothing(ledger: Database) -> None:
    """A consumer or a slow read may tell of it long after the job was cancelled: no producer may end for it."""
    job = add_job(ledger, {b"a": None, b"b": None}, end=False)
    ids = [row["id"] for row in ask(ledger, "SELECT id FROM objects WHERE job_id = %s ORDER BY object_key", job)]
    ledger.run(jobs.change_state, job, "cancelled")
    assert ledger.run(pruning.begin, job)
    while ledger.run(pruning.prune, job)[1]:
        pass
    changed = {ids[0]: ListedObject(b"a", "new", 1), ids[1]: ListedObject(b"b", "new", 1)}
    assert ledger.run(listing.add_changed, job, changed) == PageChanges(0, 0)
    assert there(ledger) == []
    assert breaches(ledger) == []
