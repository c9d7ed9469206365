"""A consumer that falls silent inside its transaction, with locked rows: the others continue, and later it does too."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

import pymysql
import pytest
from pymysql.cursors import Cursor as PlainCursor

from sluice.ledger import Database, JobProgress, jobs, progress
from sluice.ledger.connection import SLOTS
from tests.chaos.silences import Silence, cut_off, frozen
from tools.stack import Servers, Stack
from tools.storm.pictures import pictures
from tools.storm.verdict import Outcome, judge

OBJECTS: Final = 400
LIMIT_SECONDS: Final = 120.0
# InnoDB shows a cached copy, which is refreshed after a tenth of a second without a query.
LOOK_SECONDS: Final = 0.2

Begin = Callable[[Stack, pytest.MonkeyPatch], AbstractContextManager[Silence]]


@pytest.mark.parametrize("begin", [frozen, cut_off])
def test_a_consumer_that_falls_silent_inside_its_transaction(
    begin: Begin, mortal_servers: Servers, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """It is silent until all else is done, or for `--silent-seconds`; others process the rows that it had locked."""
    servers = mortal_servers
    servers.start()
    servers.s3.fill("silence", pictures(OBJECTS))
    with (
        Stack(servers, f"silence_{begin.__name__}", cache_entries=0, heartbeat=0.5) as stack,
        Database(stack.settings) as database,
    ):
        stack.start_workers(consumers=0)
        job = database.run(jobs.submit, "s3://silence", "noop")
        wait_for(database, job, lambda found: found.listing_complete)
        with begin(stack, monkeypatch) as silence:
            catch_in_commit(servers, f"silence_{begin.__name__}", job, silence)
            since = time.monotonic()
            other = stack.add_consumer()
            other.start()
            other.wait_ready()
            stall = wait_for(database, job, lambda found: found.done == OBJECTS)
            took = time.monotonic() - since
            print(f"{begin.__name__}: longest stall {stall:.1f} s, over after {took:.1f} s")  # noqa: T201 - with -s
            time.sleep(max(0.0, since + request.config.getoption("--silent-seconds", 0.0) - time.monotonic()))
            silence.end()
            check(database, job)
            # Alone, to check that it works again.
            other.stop()
            job = database.run(jobs.submit, "s3://silence", "noop")
            check(database, job)


def catch_in_commit(servers: Servers, name: str, job: int, silence: Silence) -> None:
    """Silence a consumer inside a commit while it waits for rows that are locked here; then release them."""
    database = servers.database
    with (
        pymysql.connect(
            host="127.0.0.1", port=database.port, user=database.user, password=database.password, database=name
        ) as blocking,
        blocking.cursor() as cursor,
    ):
        cursor.executemany(
            "INSERT IGNORE INTO counters (job_id, slot) VALUES (%s, %s)", [(job, slot) for slot in range(SLOTS)]
        )
        blocking.commit()
        deadline = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            cursor.execute("SELECT slot FROM counters WHERE job_id = %s FOR UPDATE", (job,))
            waiting = None
            while waiting is None and time.monotonic() < deadline:
                waiting = connection_in(cursor, "trx_state = 'LOCK WAIT'")
            silence.begin()
            blocking.rollback()
            # It may have timed out just before; then it is caught at its next try.
            if waiting is not None and connection_in(
                cursor, f"p.id = {waiting} AND p.command = 'Sleep' AND trx_rows_locked > 1"
            ):
                return
            silence.end()
    pytest.fail("no consumer was ever inside a commit")


def connection_in(cursor: PlainCursor, state: str) -> int | None:
    """Return the id of a connection to this database whose transaction is in a state."""
    time.sleep(LOOK_SECONDS)
    cursor.execute(
        "SELECT p.id FROM information_schema.innodb_trx JOIN information_schema.processlist p "
        f"ON p.id = trx_mysql_thread_id WHERE p.db = DATABASE() AND {state}"
    )
    row = cursor.fetchone()
    return row[0] if row else None


def check(database: Database, job: int) -> None:
    wait_for(database, job, lambda found: found.state == "done")
    outcome = Outcome(0, OBJECTS)
    judge(database, job, outcome)
    assert outcome.breaches == []


def wait_for(database: Database, job: int, until: Callable[[JobProgress], bool]) -> float:
    """Wait for a job; return the longest time in which none of it was done."""
    longest, done, since = 0.0, -1, time.monotonic()
    while True:
        found = database.run(progress.progress, job)
        assert found is not None
        now = time.monotonic()
        longest = max(longest, now - since)
        if found.done > done:
            done, since = found.done, now
        if until(found):
            return longest
        assert now - since < LIMIT_SECONDS, found
        time.sleep(0.05)
