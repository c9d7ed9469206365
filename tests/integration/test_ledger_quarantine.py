"""The quarantine on a real server: how objects get into it and out of it."""

from __future__ import annotations

from functools import partial

import pytest

from sluice.domain import ListedObject
from sluice.errors import LedgerError
from sluice.ledger import (
    Database,
    PageChanges,
    QuarantineEntry,
    jobs,
    listing,
    objects,
    progress,
)
from tests.support.ledger_rows import breaches, entries, ids_of, list_all, running_job


def test_archived_objects_go_straight_into_quarantine(ledger: Database) -> None:
    job = running_job(ledger)
    list_all(ledger, job, [ListedObject(b"cold", "e", 1, archived=True), ListedObject(b"warm", "e", 1)])
    assert list(ids_of(ledger, job)) == [b"warm"]
    assert ledger.run(objects.count_reasons, job) == {"archived": 1}
    assert breaches(ledger) == []


def test_what_is_listed_again_is_tried_again_where_that_shows_the_reason_to_be_over(ledger: Database) -> None:
    """It exists again, or isn't archived any more. Reasons that a listing can't check (a denied read) stay."""
    job = running_job(ledger)
    warm = entries([b"corrupt", b"denied", b"frozen", b"gone", b"unreadable"])
    list_all(
        ledger,
        job,
        [*warm, ListedObject(b"cold", "e", 4, archived=True), ListedObject(b"colder", "e", 6, archived=True)],
    )
    reason_of = {
        b"corrupt": "corrupt",
        b"denied": "access_denied",
        b"frozen": "archived",  # a read found it archived, although the listing names another class
        b"gone": "not_found",
        b"unreadable": "unreadable",
    }
    ids = ids_of(ledger, job)
    ledger.run(objects.count_death, {ids[b"gone"]: 0})
    failures = [QuarantineEntry(ids[key], reason, "as the storage says") for key, reason in reason_of.items()]
    ledger.run(objects.quarantine, failures)
    again = [*warm, ListedObject(b"cold", "e", 4), ListedObject(b"colder", "e", 6, archived=True)]
    assert ledger.run(listing.upsert_keys, job, again) == PageChanges(0, 0, replayed=2)
    assert ledger.run(listing.upsert_keys, job, again) == PageChanges(0, 0)
    found = ledger.run(objects.pending, job, 0, 10)
    assert sorted((row.key, row.deaths) for row in found) == [(b"cold", 0), (b"gone", 0)]
    counted = ledger.run(progress.progress, job)
    assert counted is not None
    assert (counted.listed, counted.pending, counted.quarantined) == (7, 2, 5)
    assert breaches(ledger) == []


def test_three_deaths_and_no_fewer(ledger: Database) -> None:
    """Passed with the deaths known before, one death counts once however often its report is repeated."""
    job = running_job(ledger)
    list_all(ledger, job, entries([b"killer", b"other"]))
    ids = ids_of(ledger, job)
    killer = ids[b"killer"]
    assert ledger.run(objects.count_death, dict.fromkeys(ids.values(), 0)) == []
    for _ in range(3):
        assert ledger.run(objects.count_death, {killer: 1}) == []
    assert [row.deaths for row in ledger.run(objects.pending, job, 0, 9)] == [2, 1]
    for _ in range(2):
        assert ledger.run(objects.count_death, {killer: 2}) == [killer]
    (row,) = ledger.run(objects.list_quarantined, job)
    assert (row.reason, row.deaths) == ("killed_consumers", 3)
    assert ledger.run(objects.count_death, {}) == []
    assert breaches(ledger) == []


def test_of_a_cancelled_job_nothing_is_replayed_and_the_reasons_stay(ledger: Database) -> None:
    over, going = running_job(ledger), running_job(ledger)
    for job in (over, going):
        list_all(ledger, job, entries([b"a", b"b"]))
        failures = [QuarantineEntry(number, "corrupt", "x") for number in ids_of(ledger, job).values()]
        ledger.run(objects.quarantine, failures)
    ledger.run(jobs.change_state, over, "cancelled")
    with pytest.raises(LedgerError, match=f"job {over} is cancelled"):
        ledger.run(objects.replay, over)
    both = [row.id for row in ledger.run(objects.list_quarantined)]
    assert ledger.run(objects.replay, ids=both) == 2
    assert [(row.job, row.reason) for row in ledger.run(objects.list_quarantined)] == [(over, "corrupt")] * 2
    assert breaches(ledger) == []


def test_replay_opens_done_jobs_again(ledger: Database) -> None:
    first, second = running_job(ledger), running_job(ledger)
    for job in (first, second):
        list_all(ledger, job, entries([b"a", b"b"]))
        ids = ids_of(ledger, job)
        failures = [QuarantineEntry(ids[b"a"], "corrupt", "x"), QuarantineEntry(ids[b"b"], "empty", "y")]
        ledger.run(partial(objects.quarantine, failures=failures))
        assert ledger.run(partial(jobs.finish, job_id=job))
    quarantined = ledger.run(objects.list_quarantined)
    assert [row.job for row in quarantined] == [first, first, second, second]
    assert ledger.run(objects.list_quarantined, after_id=quarantined[1].id, limit=1) == [quarantined[2]]
    assert ledger.run(objects.list_quarantined, reason="empty") == [quarantined[1], quarantined[3]]
    assert ledger.run(objects.replay, ids=[quarantined[0].id]) == 1
    assert ledger.run(objects.replay, ids=[]) == 0
    assert ledger.run(objects.replay, second, reason="empty") == 1
    assert ledger.run(objects.replay) == 2
    assert ledger.run(objects.list_quarantined) == []
    assert [job.state for job in ledger.run(jobs.list_jobs)] == ["running", "running"]
    assert ledger.run(progress.backlog) == 4
    assert breaches(ledger) == []
