"""Migrations up and down, and people's plain SQL."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from sluice.errors import ConfigurationError, LedgerError, LedgerUnavailable
from sluice.ledger import (
    Database,
    LedgerCursor,
    QuarantinedObject,
    QuarantineEntry,
    jobs,
    listing,
    objects,
    predictions,
    progress,
    schema,
)
from sluice.settings import Settings, read_settings
from tests.support.ledger_rows import ask, breaches, entries, ids_of, list_all, prediction, reads, register, running_job
from tests.support.ready_tables import described, make_tables
from tools.stack import Servers


@pytest.fixture
def empty(servers: Servers, database_name: str) -> Settings:
    """Return settings for a database without tables."""
    return read_settings(database_url=servers.database.create(database_name), database_patience=30.0)


@pytest.fixture
def fresh(empty: Settings) -> Iterator[Database]:
    """Open that database."""
    with Database(empty) as database:
        yield database


def tables(database: Database) -> set[str]:
    return {str(next(iter(row.values()))) for row in ask(database, "SHOW TABLES")}


def test_up_down_and_up_again(empty: Settings, fresh: Database) -> None:
    newest = schema.current(empty)[1]
    assert schema.current(empty) == (None, newest)
    schema.upgrade(empty)
    schema.upgrade(empty)
    assert schema.current(empty) == (newest, newest)
    assert {"jobs", "objects", "predictions", "results", "images", "job_progress"} <= tables(fresh)
    schema.downgrade(empty, "base")
    assert tables(fresh) == {"alembic_version"}
    assert schema.current(empty) == (None, newest)
    schema.upgrade(empty)
    assert breaches(fresh) == []


def test_other_tests_have_the_tables_that_migrations_make(
    empty: Settings, fresh: Database, table_statements: str, servers: Servers
) -> None:
    """Theirs are made at once; a difference would let them pass with tables that nobody has."""
    schema.upgrade(empty)
    copied = servers.database.create("copied")
    try:
        make_tables(copied, table_statements)
        assert described(copied) == described(empty.database_url.get_secret_value())
        with Database(read_settings(database_url=copied)) as database:
            for name in tables(database):
                rows = f"SELECT * FROM `{name}`"
                assert ask(database, rows) == ask(fresh, rows), name
    finally:
        servers.database.drop("copied")


def test_upgrades_at_the_same_time(empty: Settings, fresh: Database) -> None:
    """Each pod may run it at its start: one does the work, the others wait for it."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(schema.upgrade, [empty] * 4))
    assert len(ask(fresh, "SELECT * FROM alembic_version")) == 1


def test_an_upgrade_that_was_cut_off_is_run_again(empty: Settings, fresh: Database) -> None:
    """Tables are created one by one: the next upgrade finds some of them."""
    schema.upgrade(empty)
    job = running_job(fresh)
    for statement in ("DROP VIEW images", "DROP TABLE feedback, counters", "DELETE FROM alembic_version"):
        fresh.run(lambda c, statement=statement: c.execute(statement))  # type: ignore[misc]
    schema.upgrade(empty)
    assert {"feedback", "counters", "images"} <= tables(fresh)
    assert fresh.run(jobs.get, job) is not None


def test_an_upgrade_waits_for_a_database_that_starts(servers: Servers, empty: Settings, fresh: Database) -> None:
    servers.database.kill()
    with ThreadPoolExecutor(1) as pool:
        upgrade = pool.submit(schema.upgrade, empty.model_copy(update={"database_patience": 120.0}))
        servers.start(servers.database)
        upgrade.result()
    assert "jobs" in tables(fresh)
    with pytest.raises(LedgerUnavailable):
        schema.upgrade(read_settings(database_url="mysql://u@127.0.0.1:1/d", database_patience=0.2))


def test_a_revision_that_there_is_not_is_said_with_the_remedy(empty: Settings) -> None:
    with pytest.raises(ConfigurationError, match=r"nope.*sluice db current"):
        schema.upgrade(empty, "nope")


def test_a_job_in_plain_sql(ledger: Database) -> None:
    """A person needs one column to start a job, and one to pause it."""
    model = ledger.run(register)
    ask(ledger, "INSERT INTO jobs (source) VALUES ('s3://photos/2024')")
    (job,) = ledger.run(jobs.active)
    assert (job.state, job.priority, job.watch, job.repeats, job.model) == ("pending", 0, False, 1, "")
    assert ledger.run(jobs.start, job.id, model)
    list_all(ledger, job.id, entries([b"2024/a.jpg", b"2024/b.jpg", b"2024/c.jpg"]))
    ids = ids_of(ledger, job.id)
    ledger.run(predictions.commit, [prediction(ids[b"2024/a.jpg"], job.id)])
    ledger.run(objects.quarantine, [QuarantineEntry(ids[b"2024/b.jpg"], "corrupt", "")])
    ledger.run(jobs.record_rate, job.id, 0.5)
    assert ask(ledger, "SELECT url, label, score, model FROM results") == [
        {"url": "s3://photos/2024/a.jpg", "label": "cat", "score": 0.75, "model": "model@1"}
    ]
    rows = ask(ledger, "SELECT url, flag, process_date IS NULL AS waits, reason FROM images ORDER BY url")
    assert [tuple(row.values()) for row in rows] == [
        ("s3://photos/2024/a.jpg", 1, 0, None),
        ("s3://photos/2024/b.jpg", 0, 0, "corrupt"),
        ("s3://photos/2024/c.jpg", 0, 1, None),
    ]
    (row,) = ask(ledger, "SELECT pending, done, quarantined, eta_seconds, images_per_second FROM job_progress")
    assert [float(value) for value in row.values()] == [1, 1, 1, 2, 0.5]
    ask(ledger, "UPDATE jobs SET state = 'paused'")
    assert ledger.run(jobs.active) == []


def test_the_tables_of_a_newer_version_are_left_alone(empty: Settings, fresh: Database) -> None:
    """As after `helm rollback`: an older version's upgrade does nothing, and its processes work."""
    schema.upgrade(empty)
    ask(fresh, "ALTER TABLE jobs ADD COLUMN news INT NOT NULL DEFAULT 0")
    ask(fresh, "UPDATE alembic_version SET version_num = '9999'")
    schema.upgrade(empty)
    assert schema.current(empty)[0] == "9999"
    assert schema.is_newer("9999")
    assert fresh.run(jobs.get, running_job(fresh)) is not None
    with pytest.raises(ConfigurationError, match="sluice db current"):
        schema.downgrade(empty, "base")
    ask(fresh, "UPDATE alembic_version SET version_num = 'ae10'")
    with pytest.raises(ConfigurationError, match="none of Sluice's"):
        schema.upgrade(empty)


def test_a_schema_from_elsewhere_is_named(empty: Settings, fresh: Database) -> None:
    schema.upgrade(empty)
    ask(fresh, "ALTER TABLE jobs DROP COLUMN watch")
    with pytest.raises(LedgerError, match="sluice db upgrade"):
        fresh.run(jobs.active)


ROWS = 4000
BIG = {"objects", "o", "predictions", "p"}
"""The tables that grow, with their aliases in statements and views."""


@pytest.fixture
def filled(ledger: Database) -> int:
    """Insert a job with some rows of each state, with up-to-date statistics."""
    job, other = running_job(ledger), running_job(ledger)
    for number in (job, other):
        list_all(ledger, number, entries(f"{key:05}".encode() for key in range(ROWS)))
        ids = list(ids_of(ledger, number).values())
        rows = [prediction(i, number) for i in ids[: ROWS // 2]]
        ledger.run(predictions.commit, rows)
        failed = [QuarantineEntry(i, "empty", "") for i in ids[ROWS // 2 : ROWS // 2 + 50]]
        ledger.run(objects.quarantine, failed)
    ask(ledger, "ANALYZE TABLE jobs, objects, predictions, counters, listings, models")
    return job


def test_no_statement_scans_the_objects(ledger: Database, filled: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's EXPLAIN shows for every statement of a running process that it reads big tables through an index."""
    seen: list[str] = []
    execute = LedgerCursor.execute

    def note(self: LedgerCursor, query: Any, args: Any = None) -> int:  # noqa: ANN401 - as pymysql has it
        if isinstance(query, str):  # executemany passes bytes
            seen.append(self.mogrify(query, args))
        return execute(self, query, args)

    ids = list(ids_of(ledger, filled).values())
    monkeypatch.setattr(LedgerCursor, "execute", note)
    for work in (
        lambda c: objects.pending(c, filled, ids[5], 100),
        lambda c: objects.pending(c, filled, ids[5], 100, 1, 3),
        lambda c: objects.count_death(c, {ids[0]: 0}),
        lambda c: objects.quarantine(c, [QuarantineEntry(ids[1], "empty", "")]),
        lambda c: objects.list_quarantined(c, limit=10),
        lambda c: objects.list_quarantined(c, filled, limit=10, reason="empty"),
        lambda c: objects.count_reasons(c, filled),
        lambda c: objects.replay(c, filled, reason="empty"),
        lambda c: objects.replay(c, ids=[ids[1]]),
        lambda c: predictions.commit(c, [prediction(i, filled) for i in ids[2:600]]),
        lambda c: predictions.results(c, filled, after_id=1000, limit=100),
        lambda c: listing.add_page(c, filled, entries([b"x1", b"x2"]), repeat_no=0, last=False, repeats=1),
        lambda c: listing.upsert_keys(c, filled, entries([b"00001", b"03999"], "new")),
        lambda c: jobs.finish(c, filled),
        jobs.active,
        progress.backlog,
        progress.all_progress,
        lambda c: progress.progress(c, filled),
    ):
        ledger.run(work)
    monkeypatch.undo()
    statements = [query for query in seen if query.split()[0] in {"SELECT", "UPDATE", "DELETE"}]
    assert len(statements) > 25
    for query in statements:
        plan = ask(ledger, f"EXPLAIN FORMAT=TRADITIONAL {query}")
        for row in plan:
            if row["table"] in BIG:
                assert row["type"] not in {"ALL", "index"}, f"{row}\n{query}"
        if "job_progress" in query:
            assert not BIG & {row["table"] for row in plan}


def test_a_page_reads_no_more_than_its_keys(ledger: Database, filled: int) -> None:
    """It reads neither deleted keys between its own, nor the many versions of one of them."""
    for etag in map(str, range(100)):
        ledger.run(listing.upsert_keys, filled, entries([b"00007", b"00008"], etag))

    def page(keys: list[bytes], etag: str) -> int:
        return reads(
            ledger,
            lambda c: listing.add_page(c, filled, entries(keys, etag), repeat_no=0, last=False, repeats=1),
        )

    assert page([b"x%04d" % number for number in range(1000)], "e") < 50, "a fresh one finds an empty range"
    assert page([b"%05d" % number for number in range(100, 1100)], "e") < 1000 + 50, "one that is known is one range"
    assert page([b"00000", b"03999"], "e") < 50
    assert page([b"00007", b"00008"], "99") < 50
    assert page([b"00007", b"00009"], "e") < 60, "with a supersession in it"
    assert reads(ledger, lambda c: listing.upsert_keys(c, filled, entries([b"00008"], "99"))) < 10
    assert breaches(ledger) == []


@pytest.mark.usefixtures("filled")
def test_a_page_of_the_quarantine_of_many_jobs_reads_one_page(ledger: Database) -> None:
    """However many jobs there are: nothing is read of jobs whose objects come later."""
    jobs_listed = [running_job(ledger) for _ in range(10)]
    for number in jobs_listed:
        list_all(ledger, number, entries(f"{key:03}".encode() for key in range(100)))
        failed = [QuarantineEntry(i, "empty", "") for i in ids_of(ledger, number).values()]
        ledger.run(objects.quarantine, failed)
    everything = ledger.run(objects.list_quarantined, limit=10_000)
    assert len(everything) == 2 * 50 + 10 * 100
    few = len(jobs_listed) + 10
    columns = partial(objects._quarantined, job_id=None, ids=None, reason=None, columns="id, reason", limit=50)
    assert reads(ledger, columns) <= 2 * 50 + few
    paged: list[QuarantinedObject] = []
    while page := ledger.run(partial(objects.list_quarantined, limit=70, after_id=paged[-1].id if paged else 0)):
        paged += page
    assert paged == everything
