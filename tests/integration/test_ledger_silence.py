"""A connection that falls silent inside its transaction, like that of a frozen process or a vanished machine."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pymysql
import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr
from structlog.testing import capture_logs

from producer.backlog import Backlog
from producer.failures import FailureWriter
from producer.leased import StreamedObject
from producer.ledger import LedgerConnections
from sluice.domain import Reason
from sluice.errors import LockLost
from sluice.ledger import (
    Database,
    LedgerCursor,
    QuarantineEntry,
    jobs,
    objects,
    predictions,
    progress,
    schema,
)
from sluice.ledger.connection import IDLE_SECONDS
from sluice.settings import Settings
from sluice.telemetry import LedgerTelemetry
from sluice.telemetry.health import Health
from tests.support.ledger_rows import breaches, entries, ids_of, list_all, prediction, running_job
from tools.stack import Servers

LIMIT_SECONDS = 90.0
STUCK = 60


@contextmanager
def silent(settings: Settings, work: Callable[[LedgerCursor], object]) -> Iterator[Database]:
    """Do `work` in a transaction on a connection that is then silent until the end of the block."""
    locked, thawed = threading.Event(), threading.Event()

    def freeze(cursor: LedgerCursor) -> None:
        work(cursor)
        if not locked.is_set():
            locked.set()
            assert thawed.wait(LIMIT_SECONDS)

    with Database(settings) as database, ThreadPoolExecutor(1) as thread:
        frozen = thread.submit(database.run, freeze)
        try:
            assert locked.wait(LIMIT_SECONDS)
            yield database
        finally:
            thawed.set()
            frozen.result()


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def value(database: Database, expression: str) -> object:
    def work(cursor: LedgerCursor) -> object:
        cursor.execute(f"SELECT {expression} AS asked")
        row = cursor.fetchone()
        assert row is not None
        return row["asked"]

    return database.run(work)


def test_a_verdict_on_a_row_that_others_have_locked_is_not_forgotten(settings: Settings, ledger: Database) -> None:
    """The rest is quarantined now; skipped objects stay in hand, and are judged again."""
    job = running_job(ledger)
    list_all(ledger, job, entries([b"free", b"stuck"]))
    ids = ids_of(ledger, job)
    found = [StreamedObject(ids[key], job, 1, "s3://b/", key, "e", 10) for key in (b"free", b"stuck")]
    backlog = Backlog()
    backlog.set_jobs({job: 0})
    backlog.begin_read()
    backlog.add(found)
    for _ in found:
        assert backlog.take(time.monotonic(), suspects=False)

    async def judge() -> None:
        connections = LedgerConnections(settings, Health())
        judged = FailureWriter(connections.write, backlog, written=lambda: None)
        writing = asyncio.create_task(judged.run())
        for each in found:
            judged.fail(each, Reason.CORRUPT, "")
        await judged.flushed()
        writing.cancel()
        connections.close()

    with silent(settings, lambda cursor: objects.lock_pending(cursor, [ids[b"stuck"]])):
        asyncio.run(judge())
        assert [each.id in backlog for each in found] == [False, True]
    again = backlog.take(float("inf"), suspects=False)
    assert again == found[1]
    asyncio.run(judge())
    assert len(backlog) == 0
    assert ledger.run(objects.count_reasons, job) == {"corrupt": 2}
    assert breaches(ledger) == []


def test_a_commit_that_fell_silent_holds_up_nobody(settings: Settings, ledger: Database) -> None:
    """Its rows are skipped and its counters' slot is avoided; after a while the server releases its locks."""
    job = running_job(ledger)
    list_all(ledger, job, entries(f"{number:04}".encode() for number in range(4 * STUCK)))
    ids = list(ids_of(ledger, job).values())
    stuck, rest = set(ids[:STUCK]), set(ids[STUCK : 3 * STUCK])
    rows = [prediction(number, job, consumer="other") for number in ids[: 3 * STUCK]]
    theirs = [prediction(number, job, consumer="frozen") for number in stuck]
    waits = counted("sluice_ledger_lock_waits_total", holder="127.0.0.1")
    names: list[object] = []

    def commit_theirs(cursor: LedgerCursor) -> None:
        predictions.commit(cursor, theirs)
        cursor.execute("SELECT CONNECTION_ID() AS id")
        names.extend(row["id"] for row in cursor.fetchall())

    with silent(settings, commit_theirs) as frozen, Database(settings, LedgerTelemetry()) as other:
        other._slot = frozen._slot
        with capture_logs() as said:
            assert other.run(predictions.commit, rows) == rest
        assert other._slot != frozen._slot
        assert f"connection {names[0]} of sluice@127.0.0.1" in said[0]["by"]
        assert counted("sluice_ledger_lock_waits_total", holder="127.0.0.1") == waits + 1
        assert other.run(objects.still_pending, ids) == set(ids) - rest
        failed = [QuarantineEntry(number, "empty", "") for number in (ids[0], ids[-1])]
        assert other.run(objects.quarantine, failed) == 1
        assert other.run(objects.count_death, {ids[0]: 2, ids[-2]: 2}) == [ids[-2]]
        late: set[int] = set()
        deadline = time.monotonic() + LIMIT_SECONDS
        while late != stuck:
            assert time.monotonic() < deadline
            late |= other.run(predictions.commit, rows)
            time.sleep(0.05)
        # This one was idle meanwhile, so the server has closed it too; that must go unnoticed.
        retries = counted("sluice_ledger_retries_total", cause="unavailable")
        found = ledger.run(progress.progress, job)
        assert counted("sluice_ledger_retries_total", cause="unavailable") == retries
    assert found is not None
    assert (found.done, found.quarantined) == (3 * STUCK, 2)
    assert breaches(ledger) == []


def test_every_connection_is_ended_when_it_is_silent(settings: Settings, ledger: Database) -> None:
    expected = ",".join([str(IDLE_SECONDS)] * 3)
    asked = "CONCAT_WS(',', @@wait_timeout, @@net_read_timeout, @@net_write_timeout)"
    assert value(ledger, asked) == expected
    with schema._connected(settings) as migrating:
        assert migrating.exec_driver_sql(f"SELECT {asked}").scalar() == expected


def test_an_idle_connection_is_replaced_unless_it_holds_a_lock(settings: Settings, ledger: Database) -> None:
    assert value(ledger, "CONNECTION_ID()") == value(ledger, "CONNECTION_ID()")
    with Database(settings, stale_seconds=0.0) as owner:
        assert value(owner, "CONNECTION_ID()") != value(owner, "CONNECTION_ID()")
        assert owner.hold_lock("shard")
        holding = value(owner, "CONNECTION_ID()")
        assert value(owner, "CONNECTION_ID()") == holding
        ledger.run(lambda c: c.execute(f"KILL {holding}"))
        with pytest.raises(LockLost):
            owner.run(jobs.active)


def test_without_the_right_to_see_it_nobody_is_named(
    servers: Servers, settings: Settings, ledger: Database, database_name: str
) -> None:
    """An unprivileged user waits like any other, and the message says what to grant."""
    job = running_job(ledger)
    password = servers.database.password
    with (
        pymysql.connect(unix_socket=str(servers.folder / "db.sock"), user="root", password=password) as root,
        root.cursor() as cursor,
    ):
        cursor.execute(f"CREATE OR REPLACE USER 'plain'@'127.0.0.1' IDENTIFIED BY '{password}'")
        cursor.execute(f"GRANT ALL ON `{database_name}`.* TO 'plain'@'127.0.0.1'")
    url = f"mysql://plain:{password}@127.0.0.1:{servers.database.port}/{database_name}"
    plain = settings.model_copy(update={"database_url": SecretStr(url)})
    with Database(plain, LedgerTelemetry()) as waiting, ThreadPoolExecutor(1) as thread, capture_logs() as said:
        with silent(settings, lambda c: jobs.lock(c, job)):
            assert not waiting.run(jobs.finish, job), "it is another's to say: asked again later"
            paused = thread.submit(waiting.run, lambda c: jobs.change_state(c, job, "paused"))
            while not said:
                time.sleep(0.05)
        assert paused.result().state == "paused"
    assert "PROCESS" in said[0]["by"]
