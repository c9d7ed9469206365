"""Transactions during kills, deadlocks, locks and full servers: nothing is lost or doubled."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import pymysql
import pytest

from sluice.errors import ConfigurationError, LedgerError, LedgerUnavailable, LockLost
from sluice.ledger import (
    Database,
    LedgerCursor,
    QuarantineEntry,
    jobs,
    listing,
    objects,
    predictions,
    progress,
    trainings,
)
from sluice.ledger.trainings import Wish
from sluice.settings import Settings, read_settings
from tests.support.ledger_rows import SOURCE, breaches, entries, ids_of, list_all, prediction, running_job
from tools.stack import Servers

T = TypeVar("T")


def lose_the_answer(ledger: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next COMMIT succeed and its answer be lost, as when the server or the network dies at that moment."""
    ledger.run(lambda c: c.execute("SELECT 1"))
    connection = ledger._connection
    assert connection is not None
    commit = connection.commit

    def committed_but_unheard() -> None:
        commit()
        connection.close()
        raise pymysql.OperationalError(2013, "lost connection during query")

    monkeypatch.setattr(connection, "commit", committed_but_unheard)


def test_a_commit_whose_answer_was_lost_has_one_effect(ledger: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry after a lost answer must not have a second effect."""
    job = running_job(ledger)

    def once(work: Callable[[LedgerCursor], T]) -> T:
        lose_the_answer(ledger, monkeypatch)
        return ledger.run(work)

    page = entries([b"a", b"b", b"c", b"d"])
    once(lambda c: listing.add_page(c, job, page, repeat_no=0, last=False, repeats=1))
    once(lambda c: listing.add_page(c, job, [], repeat_no=0, last=True, repeats=1))
    assert ledger.run(listing.state, job).passes == 1
    ids = ids_of(ledger, job)
    once(lambda c: predictions.commit(c, [prediction(ids[b"a"], job)]))
    once(lambda c: objects.quarantine(c, [QuarantineEntry(ids[b"b"], "empty", "")]))
    once(lambda c: objects.count_death(c, {ids[b"c"]: 0}))
    once(lambda c: listing.upsert_keys(c, job, entries([b"d"], "new")))
    found = ledger.run(progress.progress, job)
    assert found is not None
    assert (found.listed, found.pending, found.done, found.quarantined, found.superseded) == (5, 2, 1, 1, 1)
    assert [row.deaths for row in ledger.run(objects.pending, job, 0, 9)] == [1, 0]
    for deaths in (1, 2):
        condemned = once(partial(objects.count_death, known={ids[b"c"]: deaths}))
    assert condemned == [ids[b"c"]], "the producer must hear of it in spite of the lost answer"
    once(lambda c: objects.replay(c, job))
    second = once(lambda c: jobs.submit(c, SOURCE))
    assert [row.id for row in ledger.run(jobs.list_jobs)] == [job, second]
    ledger.run(jobs.change_state, second, "paused")
    assert once(lambda c: jobs.change_state(c, second, "running")).state == "pending"
    training = once(lambda c: trainings.submit(c, Wish("m", "s3://bbb/", "1.0")))
    assert [row.id for row in ledger.run(trainings.newest)] == [training], "its own version isn't taken"
    assert breaches(ledger) == []


def test_the_server_is_killed_while_threads_commit(servers: Servers, settings: Settings, ledger: Database) -> None:
    """Kill -9 of the server during commits, twice: each thread continues by itself and every object is done once."""
    job = running_job(ledger)
    list_all(ledger, job, entries(f"{number:05}".encode() for number in range(3000)))
    ids = list(ids_of(ledger, job).values())
    patient = settings.model_copy(update={"database_patience": 120.0})
    progressed = threading.Event()
    done: list[int] = []

    def consume(numbers: list[int]) -> None:
        with Database(patient) as database:
            for first in range(0, len(numbers), 20):
                rows = [prediction(number, job) for number in numbers[first : first + 20]]
                done.extend(database.run(partial(predictions.commit, rows=rows)))
                progressed.set()

    with ThreadPoolExecutor(4) as pool:
        # Two threads have the same ids, so half of all commits are late.
        threads = [pool.submit(consume, part) for part in (ids[::2], ids[1::2], ids[::2], ids[1::2])]
        for _ in range(2):
            progressed.clear()
            progressed.wait(60)
            servers.database.kill()
            servers.start(servers.database)
        for thread in threads:
            thread.result()
    assert len(done) == len(set(done))
    found = ledger.run(progress.progress, job)
    assert found is not None
    assert (found.done, found.pending) == (len(ids), 0)
    assert breaches(ledger) == []


def test_the_same_objects_committed_by_many_at_once(settings: Settings, ledger: Database) -> None:
    """Threads commit overlapping batches in different orders: one row each, whoever is first."""
    first, second = running_job(ledger), running_job(ledger)
    of_job: dict[int, int] = {}
    for job in (first, second):
        list_all(ledger, job, entries(f"{number:04}".encode() for number in range(400)))
        of_job |= dict.fromkeys(ids_of(ledger, job).values(), job)
    start = threading.Barrier(6)

    def consume(seed: int) -> list[int]:
        order = list(of_job)
        random.Random(seed).shuffle(order)
        with Database(settings) as database:
            database.run(jobs.active)
            start.wait(60)
            mine: list[int] = []
            for begin in range(0, len(order), 32):
                rows = [prediction(number, of_job[number], consumer=str(seed)) for number in order[begin : begin + 32]]
                mine += database.run(partial(predictions.commit, rows=rows))
            return mine

    with ThreadPoolExecutor(6) as pool:
        shares = list(pool.map(consume, range(6)))
    assert sorted(number for share in shares for number in share) == sorted(of_job)
    rows = [row for job in (first, second) for row in ledger.run(partial(predictions.results, job_id=job))]
    assert len(rows) == len(of_job)
    assert breaches(ledger) == []


def test_a_deadlock_is_retried(settings: Settings, ledger: Database) -> None:
    """Two transactions lock two rows in opposite orders: the victim is retried by itself."""
    job = running_job(ledger)
    list_all(ledger, job, entries([b"a", b"b"]))
    ids = list(ids_of(ledger, job).values())
    both_have_one = threading.Barrier(2)
    tries: list[int] = []

    def cross(order: list[int]) -> None:
        first_try = True

        def work(cursor: LedgerCursor) -> None:
            nonlocal first_try
            tries.append(order[0])
            cursor.execute("UPDATE objects SET attempts = attempts + 1 WHERE id = %s", (order[0],))
            if first_try:
                first_try = False
                both_have_one.wait(60)
            cursor.execute("UPDATE objects SET attempts = attempts + 1 WHERE id = %s", (order[1],))

        with Database(settings) as database:
            database.run(work)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(cross, [ids, ids[::-1]]))
    assert len(tries) == 3
    assert [row.deaths for row in ledger.run(objects.pending, job, 0, 9)] == [2, 2]


def test_two_writers_of_one_key(settings: Settings, ledger: Database) -> None:
    """Listing and notifications may write the same key at the same time: it gets one row, or one successor."""
    job = running_job(ledger)
    start = threading.Barrier(4)

    def write(_: int) -> int:
        added = 0
        with Database(settings) as database:
            for etag in "abcdef":
                start.wait(60)
                page = entries([f"{number}".encode() for number in range(50)], etag)
                added += database.run(partial(listing.upsert_keys, job_id=job, entries=page)).new
        return added

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(write, range(4))) == 300
    assert len(ids_of(ledger, job)) == 50
    assert breaches(ledger) == []


def test_rows_that_stay_locked(settings: Settings, ledger: Database) -> None:
    """A lock wait ends before the driver's timeout, so the connection stays good."""
    job = running_job(ledger)
    list_all(ledger, job, entries([b"a"]))
    ids = ids_of(ledger, job)
    hasty = settings.model_copy(update={"database_timeout": 4.0, "database_patience": 3.0})
    with Database(hasty) as blocked:
        assert blocked.hold_lock("mine")

        def hold(cursor: LedgerCursor) -> None:
            cursor.execute("SELECT id FROM objects WHERE id = %s FOR UPDATE", (ids[b"a"],))
            with pytest.raises(LedgerUnavailable, match="locked by others"):
                blocked.run(listing.upsert_keys, job, entries([b"a"], "new"))

        ledger.run(hold)
        assert blocked.run(predictions.commit, [prediction(ids[b"a"], job)]) == set(ids.values())


def test_an_error_of_the_work_itself_leaves_nothing_behind(ledger: Database) -> None:
    job = running_job(ledger)

    def work(cursor: LedgerCursor) -> None:
        listing.upsert_keys(cursor, job, entries([b"a"]))
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        ledger.run(work)
    assert ids_of(ledger, job) == {}
    with pytest.raises(LedgerError, match="refused a statement"):
        ledger.run(lambda c: c.execute("SELEKT"))
    assert breaches(ledger) == []


def test_a_read_only_server_is_waited_for(ledger: Database) -> None:
    """A replica is read-only until it is promoted; here the session is."""
    job = running_job(ledger)
    tries = 0

    def work(cursor: LedgerCursor) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            cursor.execute("COMMIT")
            cursor.execute("START TRANSACTION READ ONLY")
        jobs.set_message(cursor, job, "written")

    ledger.run(work)
    found = ledger.run(jobs.get, job)
    assert found is not None
    assert (found.message, tries) == ("written", 2)


def test_a_lost_connection_is_replaced_unless_it_held_a_lock(settings: Settings, ledger: Database) -> None:
    def thread_of(database: Database) -> int:
        def ask(cursor: LedgerCursor) -> int:
            cursor.execute("SELECT CONNECTION_ID() AS id")
            row = cursor.fetchone()
            assert row is not None
            return int(row["id"])

        return database.run(ask)

    with Database(settings) as plain, Database(settings) as owner, Database(settings) as rival:
        assert owner.hold_lock("shard")
        assert owner.hold_lock("shard"), "a lock may be taken again by who has it"
        assert not rival.hold_lock("shard")
        assert rival.hold_lock("another")
        for victim in (plain, owner):
            number = thread_of(victim)
            ledger.run(lambda c, number=number: c.execute("KILL %s", (number,)))  # type: ignore[misc]
        assert plain.run(jobs.list_jobs) == []
        with pytest.raises(LockLost, match="shard"):
            owner.run(jobs.list_jobs)
        assert rival.hold_lock("shard")
        assert not owner.hold_lock("shard")
        assert owner.run(jobs.list_jobs) == [], "having heard of it, it may go on without the lock"


def test_locks_are_the_databases_own(servers: Servers, settings: Settings, database_name: str) -> None:
    other = servers.database.create(f"{database_name}_other")
    try:
        with Database(settings) as one, Database(read_settings(database_url=other)) as two:
            assert one.hold_lock("x" * 100)
            assert two.hold_lock("x" * 100)
    finally:
        servers.database.drop(f"{database_name}_other")


def test_what_a_person_is_told(servers: Servers, settings: Settings, database_name: str) -> None:
    place = f"127.0.0.1:{servers.database.port}/{database_name}"
    for url, error, advice in (
        (f"mysql://sluice:wrong@{place}", ConfigurationError, "password"),
        (settings.database_url.get_secret_value() + "_none", ConfigurationError, "CREATE DATABASE"),
        ("mysql://u@127.0.0.1:1/d", LedgerUnavailable, "is it running"),
    ):
        with (
            Database(read_settings(database_url=url, database_patience=0.5)) as database,
            pytest.raises(error, match=advice) as caught,
        ):
            database.run(jobs.list_jobs)
        assert servers.database.password not in str(caught.value)
    empty = servers.database.create(f"{database_name}_empty")
    try:
        with (
            Database(read_settings(database_url=empty)) as database,
            pytest.raises(LedgerError, match="sluice db upgrade"),
        ):
            database.run(jobs.list_jobs)
    finally:
        servers.database.drop(f"{database_name}_empty")
