"""What commits measured is counted once, in windows that are judged against the reference of their version."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from sluice.errors import LedgerError
from sluice.ledger import (
    Database,
    LedgerCursor,
    QuarantineEntry,
    drift_pages,
    drifting,
    models,
    objects,
    predictions,
    references,
    reports,
)
from sluice.settings import Settings
from tests.support.drifting import (
    DAYS,
    SIZE,
    add_objects,
    alarmed,
    classify,
    count_all,
    pictures,
    predictions_of,
    told,
)
from tests.support.ledger_rows import ask, breaches, register, running_job


@pytest.fixture
def job(ledger: Database) -> int:
    return running_job(ledger)


def counted(database: Database) -> dict[str, int]:
    rows = ask(database, "SELECT label, SUM(pictures) AS n FROM label_days GROUP BY label")
    return {row["label"]: int(row["n"]) for row in rows}


def test_stable_windows_are_calm_and_a_darkened_camera_is_told_with_its_pictures(ledger: Database, job: int) -> None:
    classify(ledger, job, pictures(SIZE))
    count_all(ledger)
    assert [row["state"] for row in ask(ledger, "SELECT state FROM drift_windows ORDER BY window_no")] == [
        "reference",
        "open",
    ]
    assert told(ledger) == [{"statistic": None, "state": "collecting"}]
    for _ in range(3):
        classify(ledger, job, pictures(SIZE))
    count_all(ledger)
    assert not alarmed(ledger)
    dark = classify(ledger, job, pictures(2 * SIZE, brightness=60.0))
    count_all(ledger)
    assert alarmed(ledger) == {"brightness"}
    (version,) = ledger.run(drift_pages.versions)
    assert (version.state, version.live, version.model) == ("alarm", True, "model@1")
    (finding,) = [each for each in version.findings if each.alarm]
    assert finding.before == pytest.approx(120, abs=1)
    assert finding.now == pytest.approx(60, abs=1)
    assert "48 to 64: 0.0 % to" in finding.moved
    shown = ledger.run(drift_pages.pictures, finding)
    assert len(shown) == drift_pages.SHOWN
    assert {each.result.object_id for each in shown} <= set(dark)
    assert {each.alarm for each in ledger.run(drift_pages.live)} == {True, False}
    ledger.run(references.reset, 1)
    assert told(ledger) == [{"statistic": None, "state": "collecting"}]
    classify(ledger, job, pictures(2 * SIZE, brightness=60.0))
    count_all(ledger)
    assert not alarmed(ledger), "the dark camera is the new reference"


def test_labels_that_shift_and_pictures_that_cannot_be_read_are_told(ledger: Database, job: int) -> None:
    classify(ledger, job, pictures(2 * SIZE))
    count_all(ledger)
    # 40 points, since a window is only a hundred pictures here.
    classify(ledger, job, pictures(SIZE, cats=0.9))
    count_all(ledger)
    assert alarmed(ledger) == {"label"}
    classify(ledger, job, pictures(SIZE // 2))
    ids = add_objects(ledger, job, SIZE // 2)
    failures = [QuarantineEntry(number, "corrupt" if number % 2 else "not_found", "") for number in ids]
    ledger.run(objects.quarantine, failures)
    count_all(ledger)
    assert told(ledger, "DISTINCT window_no") == [{"window_no": 3}], "what isn't found says nothing of the pictures"
    classify(ledger, job, pictures(SIZE // 4))
    count_all(ledger)
    assert alarmed(ledger) == {"undecodable"}
    (row,) = [row for row in told(ledger, "statistic, now_value") if row["statistic"] == "undecodable"]
    assert row["now_value"] == pytest.approx(0.25)


def test_reports_of_incorrect_predictions_are_told(ledger: Database, job: int) -> None:
    classify(ledger, job, pictures(2 * SIZE))
    count_all(ledger)
    for object_id in classify(ledger, job, pictures(SIZE - 1))[:40]:
        assert ledger.run(reports.report, object_id, 1, "me", "mouse")
    classify(ledger, job, pictures(1))
    count_all(ledger)
    assert alarmed(ledger) == {"incorrect"}


def test_each_picture_is_counted_once_whoever_counts_and_whatever_is_repeated(
    ledger: Database, job: int, settings: Settings
) -> None:
    """Commits are repeated as after a lost answer, by several consumers, while several processes count."""
    rows = predictions_of(add_objects(ledger, job, 600), job, pictures(600))
    ended = threading.Event()

    def commit(first: int) -> None:
        with Database(settings) as database:
            for place in range(first, len(rows), 16):
                batch = rows[place : place + 32]
                for _ in range(2):
                    database.run(predictions.commit, batch)

    def keep_counting() -> None:
        with Database(settings) as database:
            while not ended.is_set():
                for model_id in database.run(drifting.models_to_count):
                    database.run(drifting.count, model_id, SIZE, DAYS)

    with ThreadPoolExecutor(5) as pool:
        counting = [pool.submit(keep_counting) for _ in range(2)]
        for done in [pool.submit(commit, first) for first in (0, 16, 32)]:
            done.result()
        ended.set()
        for done in counting:
            done.result()
    count_all(ledger)
    (missing,) = ask(ledger, "SELECT COUNT(*) AS n FROM objects WHERE state = 'pending'")
    assert counted(ledger) == {"cat": 300, "dög": 300}
    assert missing["n"] == 0
    windows = ask(ledger, "SELECT pictures, state FROM drift_windows ORDER BY window_no")
    assert [row["pictures"] for row in windows] == [SIZE] * 6 + [0]
    assert ask(ledger, "SELECT * FROM tallies") == []
    (dark,) = ask(
        ledger, "SELECT SUM(pictures) AS n, SUM(total) AS total FROM picture_days WHERE statistic = 'brightness'"
    )
    assert (dark["n"], dark["total"] / 600) == (600, pytest.approx(120, abs=1))
    assert breaches(ledger) == []


def test_transactions_that_break_off_count_nothing(ledger: Database, job: int) -> None:
    """As where a consumer, or whoever counts, is killed before its commit."""
    rows = predictions_of(add_objects(ledger, job, 2 * SIZE), job, pictures(2 * SIZE))

    def broken_off(work: Callable[[LedgerCursor], object]) -> None:
        def whole(cursor: LedgerCursor) -> None:
            work(cursor)
            raise BrokenOff

        with pytest.raises(BrokenOff):
            ledger.run(whole)

    broken_off(lambda cursor: predictions.commit(cursor, rows))
    assert ask(ledger, "SELECT * FROM tallies") == []
    assert len(ledger.run(predictions.commit, rows)) == 2 * SIZE
    broken_off(lambda cursor: drifting.count(cursor, 1, SIZE, DAYS))
    assert counted(ledger) == {}
    count_all(ledger)
    assert counted(ledger) == {"cat": SIZE, "dög": SIZE}
    assert {row["state"] for row in told(ledger)} == {"calm"}


class BrokenOff(Exception):
    """Raised in a transaction, which is rolled back then."""


def test_a_version_that_becomes_live_is_compared_with_the_pictures_of_the_one_before(
    ledger: Database, job: int
) -> None:
    classify(ledger, job, pictures(2 * SIZE))
    count_all(ledger)
    second = ledger.run(register, "2")
    classify(ledger, job, pictures(SIZE, brightness=60.0), second)
    count_all(ledger)
    rows = told(ledger, "model, statistic, state, reference")
    assert {(row["model"], row["statistic"]) for row in rows if row["state"] == "alarm"} == {("model@2", "brightness")}
    assert {row["reference"] for row in rows if row["model"] == "model@2"} == {"collecting"}
    classify(ledger, job, pictures(2 * SIZE, cats=0.1), second)
    count_all(ledger)
    assert not alarmed(ledger), "its labels are its own"
    # Rolled back, the older version is judged by its own reference, as it was.
    ledger.run(models.promote, "model", "1")
    classify(ledger, job, pictures(SIZE, cats=0.1))
    count_all(ledger)
    assert {(row["model"], row["statistic"]) for row in told(ledger, "*") if row["state"] == "alarm"} == {
        ("model@1", "label")
    }


def test_jobs_that_repeat_others_are_counted_and_not_judged(ledger: Database, job: int) -> None:
    ask(ledger, "UPDATE jobs SET again_of = 99 WHERE id = %s", job)
    classify(ledger, job, pictures(3 * SIZE))
    count_all(ledger)
    assert counted(ledger) == {"cat": 150, "dög": 150}
    assert ask(ledger, "SELECT pictures FROM drift_windows") == [{"pictures": 0}]


def test_old_windows_and_days_go(ledger: Database, job: int) -> None:
    classify(ledger, job, pictures(SIZE))
    count_all(ledger)
    ask(ledger, "UPDATE drift_windows SET window_no = window_no + 1000 WHERE state = 'open'")
    ask(ledger, "UPDATE label_days SET day = day - INTERVAL 500 DAY")
    classify(ledger, job, pictures(SIZE))
    count_all(ledger)
    assert [row["window_no"] for row in ask(ledger, "SELECT window_no FROM drift_windows ORDER BY 1")] == [1002, 1003]
    assert counted(ledger) == {"cat": 50, "dög": 50}


def test_there_is_no_reference_to_freeze_anew_before_anything_is_counted(ledger: Database) -> None:
    with pytest.raises(LedgerError, match="nothing was counted"):
        ledger.run(references.reset, 77)


def test_pictures_that_were_not_decoded_join_the_reference_later(ledger: Database, job: int) -> None:
    """Where answers are known by their content, a window has labels and no pictures."""
    ids = add_objects(ledger, job, SIZE)
    rows = [replace(row, measures=None) for row in predictions_of(ids, job, pictures(SIZE))]
    ledger.run(predictions.commit, rows)
    classify(ledger, job, pictures(SIZE))
    count_all(ledger)
    assert "brightness" not in {row["statistic"] for row in told(ledger)}
    classify(ledger, job, pictures(SIZE, brightness=60.0))
    count_all(ledger)
    assert alarmed(ledger) == {"brightness"}
