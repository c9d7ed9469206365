"""Revision 0003, the gateway's tables: up and down with rows in them, and while processes of the release before run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

import pytest

from sluice.ledger import (
    Database,
    LedgerCursor,
    idempotency,
    objects,
    pictures,
    predictions,
    reports,
    schema,
    sessions,
    tokens,
    uploads,
    users,
)
from sluice.ledger.idempotency import RequestTicket
from sluice.ledger.pictures import Picture
from sluice.ledger.sessions import Attempts
from sluice.ledger.uploads import NewUpload
from sluice.settings import Settings, read_settings
from tests.support.ledger_rows import ask, breaches, entries, ids_of, list_all, prediction, running_job
from tests.support.tables_changing import WAIT_SECONDS, working
from tools.stack import Servers

DIGEST: Final = hashlib.sha256(b"a").digest()
OF_GATEWAY: Final = (
    *("users", "sessions", "tokens", "failed_logins", "job_owners", "standing_jobs", "pictures", "answers", "uploads"),
    "idempotency",
)
SHARED: Final = ("models", "jobs", "listings", "objects", "predictions", "counters")
OLD_FEEDBACK: Final = "INSERT INTO feedback (object_id, label, author) VALUES (%s, %s, %s)"
"""As people gave it in SQL before there was a gateway."""
ROUNDS: Final = 3
REVISION: Final = "0003"


@pytest.fixture
def old(servers: Servers, database_name: str) -> Settings:
    """Reach tables as the release before made them."""
    settings = read_settings(database_url=servers.database.create(database_name), database_patience=WAIT_SECONDS)
    schema.upgrade(settings, "0002")
    return settings


def use(cursor: LedgerCursor, model_id: int) -> None:
    """Put a row into each of the gateway's tables, and a report into `feedback`."""
    ada = users.add(cursor, "Ada", "ada@example.com", "user", "hash")
    assert ada is not None
    sessions.begin(cursor, DIGEST, ada, 600)
    sessions.attempt(cursor, [Attempts(DIGEST, 5, 60)])
    tokens.make(cursor, ada, "nightly", DIGEST, None)
    top = (("cat", 0.75), ("dog", 0.25))
    picture = Picture(ada, model_id, "s3://photos/pictures/", b"pictures/a", "e", 1, DIGEST, "a.jpg", top, "test")
    (object_id,) = pictures.record(cursor, [picture])
    assert reports.report(cursor, object_id, ada, "Ada", "lynx", "look at the ears")
    uploads.create(cursor, NewUpload("0" * 32, ada, "a.zip", "photos", "archives/0/a.zip", 9, "", 0))
    idempotency.begin(cursor, RequestTicket(ada, DIGEST, DIGEST, bytes(16)))


def content(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Return what both releases know, row by row."""
    return {table: ask(database, f"SELECT * FROM {table}") for table in SHARED}


def test_up_and_down_with_rows_in_all_tables(old: Settings) -> None:
    with Database(old) as database:
        job = running_job(database)
        list_all(database, job, entries([b"a", b"b"]))
        (number, _) = ids_of(database, job).values()
        database.run(predictions.commit, [prediction(number, job)])
        ask(database, OLD_FEEDBACK, number, "lynx", "Bob")
        shared, feedback = content(database), ask(database, "SELECT * FROM feedback")
        schema.upgrade(old, REVISION)
        assert content(database) == shared
        assert [row.items() >= feedback[0].items() for row in ask(database, "SELECT * FROM feedback")] == [True]
        database.run(use, 1)
        assert [table for table in OF_GATEWAY if not ask(database, f"SELECT 1 FROM {table}")] == []
        assert breaches(database) == []
        used = content(database)
        # As where an upgrade was cut off behind its last statement: it is run again, and changes nothing.
        ask(database, "UPDATE alembic_version SET version_num = '0002'")
        schema.upgrade(old, REVISION)
        assert content(database) == used
        assert len(ask(database, "SELECT 1 FROM users")) == 1
        schema.downgrade(old, "0002")
        assert content(database) == used
        assert ask(database, "SELECT COUNT(*) AS n FROM results") == [{"n": 2}]
        assert breaches(database) == []
        assert [row["label"] for row in ask(database, "SELECT * FROM feedback ORDER BY id")] == ["lynx", "lynx"]
        assert not {row["t"] for row in tables(database)} & set(OF_GATEWAY)
        schema.upgrade(old, REVISION)
        assert content(database) == used
        database.run(users.add_first_admin, "admin@localhost", "hash")
        assert breaches(database) == []


def tables(database: Database) -> list[dict[str, Any]]:
    return ask(database, "SELECT table_name AS t FROM information_schema.tables WHERE table_schema = DATABASE()")


def test_an_upgrade_that_was_cut_off_anywhere_is_run_again(old: Settings) -> None:
    """Tables are changed outside transactions: half of them are there then."""
    with Database(old) as database:
        job, number = one_object(database)
        work = working_turn(database, job, number)
        schema.upgrade(old, REVISION)
        for statement in cuts():
            ask(database, statement)
            ask(database, "UPDATE alembic_version SET version_num = '0002'")
            work()
            schema.upgrade(old, REVISION)
            work()
            database.run(users.add_first_admin, "admin@localhost", "hash")
            assert {row["t"] for row in tables(database)} >= set(OF_GATEWAY)
        assert breaches(database) == []


def cuts() -> list[str]:
    """Return statements that leave whole tables as an upgrade that came less far would have."""
    lost = [f"DROP TABLE {', '.join(OF_GATEWAY[number:])}" for number in range(len(OF_GATEWAY))]
    return [
        *lost,
        "ALTER TABLE predictions DROP INDEX by_score",
        "ALTER TABLE predictions DROP INDEX by_score, DROP INDEX by_label",
        "ALTER TABLE feedback DROP INDEX by_user, DROP COLUMN file_name",
        "ALTER TABLE feedback DROP INDEX by_user, DROP COLUMN file_name, DROP COLUMN score, DROP COLUMN comment",
    ]


def one_object(database: Database) -> tuple[int, int]:
    """List an object in a job of its own."""
    job = running_job(database)
    list_all(database, job, entries([b"a"]))
    return job, ids_of(database, job)[b"a"]


def working_turn(database: Database, job: int, number: int) -> Callable[[], None]:
    """Return what processes of both releases do with an object: predict it, quarantine it, give it back."""

    def turn() -> None:
        assert database.run(predictions.commit, [prediction(number, job)]) == {number}
        assert len(ask(database, "SELECT url FROM results WHERE object_id = %s", number)) == 1
        ask(database, OLD_FEEDBACK, number, "lynx", "Bob")
        undo(database, job, number)
        assert [row.id for row in database.run(objects.pending, job, 0, 9)] == [number]

    return turn


def undo(database: Database, job: int, number: int) -> None:
    """Make an object pending again, so that the next turn has something to do."""

    def work(cursor: LedgerCursor) -> None:
        if cursor.execute("DELETE FROM predictions WHERE object_id = %s", (number,)):
            cursor.execute("UPDATE objects SET state = 'pending' WHERE id = %s", (number,))
            cursor.execute("UPDATE counters SET done = done - 1 WHERE job_id = %s AND done > 0 LIMIT 1", (job,))

    database.run(work)


def test_processes_go_on_while_the_tables_come_and_go(old: Settings) -> None:
    """One that began before the upgrade, on one connection for good, and one that opens it anew."""
    with Database(old) as opened, Database(old) as other, Database(old) as gateway:
        assert opened.hold_lock("shard")
        turns = [working_turn(database, *one_object(database)) for database in (opened, other)]
        with working(*turns) as go_on:
            for _ in range(ROUNDS):
                schema.upgrade(old, REVISION)
                go_on()
                schema.downgrade(old, "0002")
                go_on()
            schema.upgrade(old, REVISION)
            gateway.run(use, 1)
            go_on()
        assert opened.holds("shard")
        assert breaches(opened) == []


@pytest.mark.parametrize(
    ("source", "key", "url"),
    [
        ("s3://photos/2024/", b"2024/a.jpg", "s3://photos/2024/a.jpg"),
        ("s3://photos/x.zip", b"x.zip!/a.jpg", "s3://photos/x.zip!/a.jpg"),
        ("s3://photos/in/!/", b"in/x.zip!/a.jpg", "s3://photos/in/x.zip!/a.jpg"),
        ("file:///srv", b"a.jpg", "file:///srv/a.jpg"),
        ("file:///srv/", b"sub/a.jpg", "file:///srv/sub/a.jpg"),
        ("file:///", b"a.jpg", "file:///a.jpg"),
        ("file:///srv/x.zip", b"x.zip!/a.jpg", "file:///srv/x.zip!/a.jpg"),
        ("file:///srv/x.zip", b"x.zip", "file:///srv/x.zip"),
        ("file:///x.TAR", "x.TAR!/b ü.jpg".encode(), "file:///x.TAR!/b ü.jpg"),
        ("file:///srv/ü%.zip", "ü%.zip!/a/b.jpg".encode(), "file:///srv/ü%.zip!/a/b.jpg"),
        ("file:///srv/in!/", b"sub/x.zip!/a.jpg", "file:///srv/in/sub/x.zip!/a.jpg"),
        ("file:///srv/in/!/", b"x.zip!/a.jpg", "file:///srv/in/x.zip!/a.jpg"),
        # A folder that is called like an archive, and a file that is called like its folder.
        ("file:///srv/old.zip", b"x.zip!/a.jpg", "file:///srv/old.zip/x.zip!/a.jpg"),
        ("file:///srv/a", b"a", "file:///srv/a/a"),
        ("file:///srv/x.zip", b"x.zipper.jpg", "file:///srv/x.zip/x.zipper.jpg"),
    ],
)
def test_views_name_an_object_as_people_do(ledger: Database, source: str, key: bytes, url: str) -> None:
    job = running_job(ledger)
    ask(ledger, "UPDATE jobs SET source = %s WHERE id = %s", source, job)
    list_all(ledger, job, entries([key]))
    assert ask(ledger, "SELECT url FROM images") == [{"url": url}]
    ledger.run(predictions.commit, [prediction(ids_of(ledger, job)[key], job)])
    assert ask(ledger, "SELECT url FROM results") == [{"url": url}]
