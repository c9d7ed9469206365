"""`check` finds each kind of breach, names the rows, and finds nothing in a correct ledger."""

from __future__ import annotations

from typing import Any

import pytest

from sluice.ledger import Database, LedgerCursor, QuarantineEntry, check, listing, objects, predictions
from sluice.settings import Settings
from tests.support.ledger_rows import breaches, entries, ids_of, list_all, prediction, running_job


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
