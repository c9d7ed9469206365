"""`check` finds each kind of breach, names the rows, and finds nothing in a correct ledger."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sluice.ledger import Database, LedgerCursor, QuarantineEntry, check, jobs, listing, objects, predictions, progress
from sluice.settings import Settings
from tests.support.cli_runs import run_in_process
from tests.support.ledger_rows import ask, breaches, entries, ids_of, list_all, prediction, running_job


@pytest.fixture
def job(ledger: Database) -> int:
    """Insert a job with an object in each state: ids 1 done, 2 and 3 quarantined, 4 superseded by 6, 5 pending."""
    number = running_job(ledger)
    list_all(ledger, number, entries([b"1", b"2", b"3", b"4", b"5"]))
    assert list(ids_of(ledger, number).values()) == [1, 2, 3, 4, 5]

    ledger.run(predictions.commit, [prediction(1, number), prediction(4, number)])
    ledger.run(objects.quarantine, [QuarantineEntry(2, "empty", "")])
    for deaths in range(3):
        ledger.run(objects.count_death, {3: deaths})
    ledger.run(listing.upsert_keys, number, entries([b"4"], "new"))
    # Auto-increment may have left a gap.
    ledger.run(lambda c: c.execute("UPDATE objects SET id = 6 WHERE object_key = '4' AND generation = 1"))
    assert breaches(ledger) == []
    return number


PREDICTION = "INSERT INTO predictions SELECT {object}, job_id, model_id, label, score, top, sha256, consumer, created "
PREDICTION += "FROM predictions WHERE object_id = 1"
ORPHAN = 2**63


@pytest.mark.parametrize(
    ("damage", "invariant", "sentence", "rows"),
    [
        ("UPDATE counters SET done = done + 1", "I1", "counters differ", (1,)),
        ("DELETE FROM counters", "I1", "counters differ", (1,)),
        ("INSERT INTO counters (job_id, slot, listed) VALUES (9, 0, 1)", "I1", "row was deleted", (9,)),
        ("UPDATE jobs SET state = 'done'", "I1", "done with pending", (1,)),
        ("UPDATE predictions SET model_id = 7", "I2", "another model", (1,)),
        ("UPDATE jobs SET model_id = NULL", "I2", "another model", (1,)),
        ("UPDATE predictions SET job_id = 7", "I2", "another model", (1,)),
        (
            "INSERT INTO objects (job_id, object_key, generation, etag, size) VALUES (1, '1', 1, 'x', 1)",
            "I2",
            "newer version",
            (1,),
        ),
        ("UPDATE objects SET state = 'superseded' WHERE id = 5", "I3", "no newer version", (5,)),
        ("UPDATE jobs SET source = 's3://photos/2024/'", "I3", "below their job's source", (1, 5, 6)),
        ("UPDATE jobs SET source = 's3://photos/5!/'", "I3", "below their job's source", (1, 6)),
        ("UPDATE objects SET reason = NULL WHERE id = 2", "I5", "without a reason", (2,)),
        ("UPDATE objects SET reason = 'overloaded' WHERE id = 2", "I5", "without a reason", (2,)),
        ("UPDATE objects SET attempts = 2 WHERE id = 3", "I5", "killed_consumers", (3,)),
        ("DELETE FROM predictions", "I6", "done objects without", (1,)),
        (PREDICTION.format(object=5), "I6", "object is not done", (5,)),
        (PREDICTION.format(object=4), "I6", "object is not done", (4,)),
        (PREDICTION.format(object=ORPHAN), "I6", "object is not done", (ORPHAN,)),
    ],
)
def test_a_planted_breach(
    ledger: Database, job: int, damage: str, invariant: str, sentence: str, rows: tuple[int, ...]
) -> None:
    assert job == 1
    ledger.run(lambda c: c.execute(damage))
    found = [breach for breach in ledger.run(check.check) if sentence in breach.sentence]
    assert [(breach.invariant, breach.rows, breach.count) for breach in found] == [(invariant, rows, len(rows))]


def test_many_breaches_are_counted_and_the_first_are_named(ledger: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices smaller than the tables give the same answer."""
    job = running_job(ledger)
    list_all(ledger, job, entries(f"{number:03}".encode() for number in range(100)))
    ids = list(ids_of(ledger, job).values())
    ledger.run(predictions.commit, [prediction(number, job) for number in ids])
    ledger.run(lambda c: c.execute("DELETE FROM predictions"))
    whole = ledger.run(check.check)
    monkeypatch.setattr(check, "SLICE", 7)
    assert ledger.run(check.check) == whole
    assert [(breach.invariant, breach.rows, breach.count) for breach in whole] == [("I6", tuple(ids[:20]), 100)]


def test_a_check_beside_running_work_sees_one_moment(settings: Settings, ledger: Database) -> None:
    """A commit between two of its queries isn't seen by half of them."""
    job = running_job(ledger)
    list_all(ledger, job, entries([b"a"]))
    ids = ids_of(ledger, job)
    with Database(settings) as other:
        execute = LedgerCursor.execute
        committed: list[int] = []

        def interrupt(self: LedgerCursor, query: Any, args: Any = None) -> int:  # noqa: ANN401 - as pymysql has it
            found = execute(self, query, args)
            if "GROUP BY job_id, state" in str(query) and not committed:
                committed.append(1)
                other.run(predictions.commit, [prediction(ids[b"a"], job)])
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LedgerCursor, "execute", interrupt)
            assert ledger.run(check.check) == []
    assert committed


def test_an_answered_object_that_is_set_back_keeps_its_prediction(ledger: Database, job: int) -> None:
    """By SQL it is pending, and then it is answered again, in a batch with others."""
    ask(ledger, "UPDATE objects SET state = 'pending' WHERE id = 1")
    batch = [prediction(number, job, "other") for number in (1, 5, 6)]
    assert ledger.run(predictions.commit, batch) == {5, 6}
    assert {row.object_id: row.label for row in ledger.run(predictions.results, job)} == {
        1: "cat",
        5: "other",
        6: "other",
    }
    assert breaches(ledger) == []


def test_predictions_that_somebody_deleted_are_no_end_of_an_export(ledger: Database, job: int) -> None:
    """Whoever reads in pages takes a short one for the last."""
    ledger.run(predictions.commit, [prediction(number, job) for number in ids_of(ledger, job).values()])
    whole = ledger.run(predictions.results, job)
    assert len(whole) == 3
    ask(ledger, "DELETE FROM predictions WHERE object_id = %s", whole[0].object_id)
    assert ledger.run(predictions.results, job, limit=1) == [whole[1]]
    assert ledger.run(predictions.results, job, limit=2) == whole[1:]
    assert ledger.run(predictions.results, job) == whole[1:]


def test_a_job_whose_rows_were_changed_is_repaired(
    ledger: Database,
    job: int,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """An answered object and a quarantined one are to be answered once more, and the job has ended."""
    sluice = run_in_process({"SLUICE_DATABASE_URL": database_url}, monkeypatch, capfd)
    ledger.run(predictions.commit, [prediction(number, job) for number in (5, 6)])
    assert ledger.run(jobs.finish, job)
    ask(ledger, "DELETE FROM predictions WHERE object_id = 1")
    ask(ledger, "UPDATE objects SET state = 'pending' WHERE id IN (1, 2)")
    code, out, _ = sluice("check")
    assert code == 1
    assert out.count("sluice jobs repair JOB") == 2
    assert sluice("jobs", "repair", job) == (0, f"job {job} is counted anew and runs again\n", "")
    assert breaches(ledger) == []
    assert ledger.run(predictions.commit, [prediction(1, job), prediction(2, job)]) == {1, 2}
    assert ledger.run(jobs.finish, job)
    assert sluice("jobs", "repair", job) == (0, f"job {job} is counted anew\n", "")
    assert breaches(ledger) == []


def test_a_job_is_repaired_while_consumers_commit(settings: Settings, ledger: Database) -> None:
    """What is committed meanwhile is counted once."""
    job = running_job(ledger)
    list_all(ledger, job, entries(f"{number:03}".encode() for number in range(300)))
    ids = list(ids_of(ledger, job).values())

    def work(mine: list[int]) -> None:
        with Database(settings) as database:
            for first in range(0, len(mine), 2):
                database.run(predictions.commit, [prediction(number, job) for number in mine[first : first + 2]])

    with ThreadPoolExecutor() as pool:
        working = [pool.submit(work, ids[part::3]) for part in range(3)]
        repairs = 0
        while not all(each.done() for each in working):
            assert not ledger.run(jobs.repair, job)
            repairs += 1
        for each in working:
            each.result()
    assert repairs
    assert ledger.run(progress.progress, job).done == len(ids)  # type: ignore[union-attr]
    assert breaches(ledger) == []
