"""A database that is read-only for a while: work stops, and resumes by itself."""

from __future__ import annotations

import time

import pymysql

from sluice.ledger import Database, jobs, progress
from tools.stack import Servers, Stack
from tools.storm.pictures import pictures
from tools.storm.storm import resident
from tools.storm.verdict import Outcome, judge

OBJECTS = 300
USER = "plain"
READ_ONLY_SECONDS = 5.0
LIMIT_SECONDS = 120.0


def administrate(servers: Servers, *statements: str) -> None:
    """Run statements as root, who can only use the socket: the stack's own user may not grant."""
    with (
        pymysql.connect(
            unix_socket=str(servers.folder / "db.sock"), user="root", password=servers.database.password
        ) as connection,
        connection.cursor() as cursor,
    ):
        for statement in statements:
            cursor.execute(statement)


def test_a_read_only_database_loses_nothing(mortal_servers: Servers) -> None:
    """Read-only doesn't affect administrators, so the workers use another account."""
    servers = mortal_servers
    servers.start()
    servers.s3.fill("readonly", pictures(OBJECTS))
    password = servers.database.password
    administrate(
        servers,
        f"CREATE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{password}'",
        f"GRANT ALL ON readonly.* TO '{USER}'@'127.0.0.1'",
    )
    url = f"mysql://{USER}:{password}@127.0.0.1:{servers.database.port}/readonly"
    with (
        Stack(servers, "readonly", cache_entries=0, database_url=url, database_patience=2.0) as stack,
        Database(stack.settings) as database,
    ):
        stack.start_workers(2)
        job = database.run(jobs.submit, "s3://readonly", "noop")
        wait_for(database, job, 1)
        administrate(servers, "SET GLOBAL read_only = ON")
        try:
            time.sleep(1.0)
            stood = done(database, job)
            time.sleep(READ_ONLY_SECONDS)
            assert done(database, job) == stood
        finally:
            administrate(servers, "SET GLOBAL read_only = OFF")
        assert all(worker.pid and resident(worker.pid) for worker in stack.workers)
        wait_for(database, job, OBJECTS)
        outcome = Outcome(0, OBJECTS)
        settle(database, job)
        judge(database, job, outcome)
        assert outcome.breaches == []


def done(database: Database, job: int) -> int:
    found = database.run(progress.progress, job)
    assert found is not None
    return found.done


def wait_for(database: Database, job: int, count: int) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while done(database, job) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def settle(database: Database, job: int) -> None:
    """Wait until the producer has noticed that all is done."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        found = database.run(jobs.get, job)
        if found is not None and found.state == "done":
            return
        assert time.monotonic() < deadline
        time.sleep(0.05)
