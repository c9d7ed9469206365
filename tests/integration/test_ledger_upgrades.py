"""Tables that change under running processes of the previous, this and the next release."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import pymysql
import pytest

from sluice.errors import LedgerUnavailable, TablesMissing
from sluice.ledger import Database, objects, schema
from sluice.ledger.connection import ISOLATION, connect_options
from sluice.ledger.faults import LOCKED, code_of
from sluice.settings import Settings, read_settings
from tests.support.ledger_rows import ask, breaches, entries, ids_of, list_all, running_job
from tests.support.tables_changing import WAIT_SECONDS, working
from tools.stack import Servers

ROUNDS: Final = 3

# Statements that name the column, as processes from before revision 0002 send them.
OLD_PENDING: Final = (
    "SELECT id, object_key, etag, size, attempts FROM objects FORCE INDEX (by_state) "
    "WHERE job_id = %s AND state = 'pending' AND id > %s AND id <= %s ORDER BY id LIMIT %s"
)
OLD_DEATH: Final = "UPDATE objects SET attempts = GREATEST(attempts, %s) WHERE id IN %s"
OLD_REPLAY: Final = (
    "UPDATE objects SET state = 'pending', attempts = 0, reason = NULL, detail = NULL, "
    "updated = CURRENT_TIMESTAMP(3) WHERE id IN %s"
)
# The next release's migration; migrations/versions/0002_deaths.py says why there are two statements.
NEXT_UP: Final = ("ALTER TABLE objects DROP COLUMN deaths", "ALTER TABLE objects RENAME COLUMN attempts TO deaths")
NEXT_DOWN: Final = (
    "ALTER TABLE objects RENAME COLUMN deaths TO attempts",
    "ALTER TABLE objects ADD COLUMN deaths TINYINT UNSIGNED AS (attempts) VIRTUAL",
)


@pytest.fixture
def old(servers: Servers, database_name: str) -> Settings:
    """Create the tables of revision 0001, and return their settings."""
    settings = read_settings(database_url=servers.database.create(database_name), database_patience=WAIT_SECONDS)
    schema.upgrade(settings, "0001")
    return settings


@pytest.fixture
def opened(old: Settings) -> Iterator[Database]:
    """Open them with this release, on one permanent connection: it holds a lock, as a producer's does."""
    with Database(old) as database:
        assert database.hold_lock("shard")
        yield database
        assert database.holds("shard")


def change(settings: Settings, statements: tuple[str, ...]) -> None:
    """Change tables as a migration does."""
    for statement in statements:
        with schema._connected(settings) as connection:
            schema._when_unused(connection, partial(connection.exec_driver_sql, statement))


def take_to(settings: Settings, tables: str) -> None:
    """Bring tables of 0001 to a revision; `next` is the next release's."""
    if tables != "0001":
        schema.upgrade(settings, "head" if tables == "next" else tables)
    if tables == "next":
        change(settings, NEXT_UP)


def one_object(database: Database, key: bytes = b"a") -> tuple[int, int]:
    """List an object in a job of its own."""
    job = running_job(database)
    list_all(database, job, entries([key]))
    return job, ids_of(database, job)[key]


def live_through(database: Database, job: int, number: int) -> None:
    """Let an object kill three consumers, and replay it."""
    for deaths in range(objects.DEATHS):
        (found,) = database.run(objects.pending, job, 0, 9)
        assert (found.id, found.deaths) == (number, deaths)
        condemned = database.run(objects.count_death, {number: deaths})
        assert condemned == ([number] if deaths == objects.DEATHS - 1 else [])
    (given_up,) = database.run(objects.list_quarantined, ids=[number])
    assert (given_up.reason, given_up.deaths) == ("killed_consumers", objects.DEATHS)
    assert database.run(objects.replay, ids=[number]) == 1
    (found,) = database.run(objects.pending, job, 0, 9)
    assert found.deaths == 0


@pytest.mark.parametrize("tables", ["0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "next"])
def test_this_release_works_on_its_neighbours_tables(old: Settings, tables: str) -> None:
    take_to(old, tables)
    with Database(old) as database:
        job, number = one_object(database)
        live_through(database, job, number)
        assert breaches(database) == []
        ask(database, "UPDATE objects SET state = 'quarantined', reason = 'killed_consumers'")
        assert any("killed_consumers" in breach for breach in breaches(database))


def test_an_open_connection_goes_on_whatever_the_tables_become(old: Settings, opened: Database) -> None:
    """A process that started before an upgrade works during and after it, also while newer tables come and go."""
    job, number = one_object(opened)
    steps: list[Callable[[], object]] = [
        lambda: schema.upgrade(old),
        lambda: change(old, NEXT_UP),
        lambda: change(old, NEXT_DOWN),
        lambda: schema.downgrade(old, "0001"),
    ]
    for step in steps:
        step()
        opened.run(objects.count_death, {number: 0})  # the first statement on the new tables is a write
        assert opened.run(objects.pending, job, 0, 9)[0].deaths == 1
        opened.run(objects.make_pending, [number])
        live_through(opened, job, number)
        assert breaches(opened) == []


def test_old_and_new_processes_count_alike(old: Settings, opened: Database) -> None:
    """At every moment of an upgrade, whoever wrote last: an old process's replay resets what a new one counted."""
    job, number = one_object(opened)
    schema.upgrade(old)

    def by_all() -> tuple[int, int, int]:
        (of_old,) = ask(opened, OLD_PENDING, job, 0, objects.MAX_ID, 9)
        (in_sql,) = ask(opened, "SELECT deaths FROM objects WHERE id = %s", number)
        return of_old["attempts"], in_sql["deaths"], opened.run(objects.pending, job, 0, 9)[0].deaths

    ask(opened, OLD_DEATH, 1, [number])
    assert by_all() == (1, 1, 1)
    opened.run(objects.count_death, {number: 1})
    assert by_all() == (2, 2, 2)
    ask(opened, OLD_REPLAY, [number])
    assert by_all() == (0, 0, 0)


def test_up_and_down_with_rows_copies_none(old: Settings, opened: Database) -> None:
    """The table keeps its id in the server's dictionary, which a copy would not, so its size doesn't matter."""
    job = running_job(opened)
    list_all(opened, job, entries(f"{number:03}".encode() for number in range(200)))
    for deaths in range(3):
        ask(opened, "UPDATE objects SET attempts = %s WHERE id %% 3 = %s", deaths, deaths)
    rows = ask(opened, "SELECT * FROM objects ORDER BY id")

    def table() -> object:
        return ask(
            opened,
            "SELECT table_id FROM information_schema.innodb_sys_tables WHERE name = CONCAT(DATABASE(), '/objects')",
        )

    before = table()
    schema.upgrade(old)
    found = ask(opened, "SELECT * FROM objects ORDER BY id")
    assert found == [row | {"deaths": row["attempts"]} for row in rows]
    # The upgrade is run again, as after an interruption between the statements.
    ask(opened, "UPDATE alembic_version SET version_num = '0001'")
    schema.upgrade(old)
    change(old, NEXT_UP)
    assert [row["deaths"] for row in ask(opened, "SELECT deaths FROM objects ORDER BY id")] == [
        row["attempts"] for row in rows
    ]
    change(old, NEXT_DOWN)
    schema.downgrade(old, "0001")
    assert ask(opened, "SELECT * FROM objects ORDER BY id") == rows
    assert table() == before


def old_process(settings: Settings, job: int, number: int) -> Callable[[], None]:
    """Return one step of an older process: it retries after a lock wait, and ends with any other error."""
    connection = pymysql.connect(**connect_options(settings))
    with connection.cursor() as cursor:
        cursor.execute(ISOLATION)

    def do(statement: str, *values: object) -> list[dict[str, Any]]:
        while True:
            try:
                connection.begin()
                with connection.cursor() as cursor:
                    cursor.execute(statement, values)
                    found = list(cursor.fetchall())
                connection.commit()
            except pymysql.MySQLError as error:
                if code_of(error) not in LOCKED:
                    raise
                connection.rollback()
            else:
                return found

    def turn() -> None:
        for deaths in range(1, 4):
            do(OLD_DEATH, deaths, [number])
            (row,) = do(OLD_PENDING, job, 0, objects.MAX_ID, 9)
            assert row["attempts"] == deaths
        do(OLD_REPLAY, [number])

    return turn


def test_running_processes_go_on_while_tables_change(old: Settings, opened: Database) -> None:
    """Old ones work at 0001 to 0008; this release's also during the rename that follows."""
    job, number = one_object(opened)
    with Database(old) as other:
        theirs = one_object(other)
        new = partial(live_through, opened, job, number)
        with working(new, old_process(old, *theirs)) as go_on:
            for _ in range(ROUNDS):
                schema.upgrade(old)
                go_on()
                schema.downgrade(old, "0001")
                go_on()
            schema.upgrade(old)
            go_on()
        with working(new, partial(live_through, other, *theirs)) as go_on:
            for _ in range(ROUNDS):
                change(old, NEXT_UP)
                go_on()
                change(old, NEXT_DOWN)
                go_on()
        assert breaches(opened) == []


def test_an_upgrade_that_must_wait_lets_others_work(old: Settings, opened: Database) -> None:
    """Another transaction uses the table: the change waits for its end, but no other process has to."""
    job, number = one_object(opened)
    with ThreadPoolExecutor(1) as pool, pymysql.connect(**connect_options(old)) as reader, reader.cursor() as cursor:
        cursor.execute("SET SESSION wait_timeout = 3600")
        cursor.execute("SELECT COUNT(*) FROM objects")
        upgrade = pool.submit(schema.upgrade, old, in_use_seconds=WAIT_SECONDS)
        waiting = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND state LIKE '%metadata lock%'"
        with Database(old) as watcher:
            while not ask(watcher, waiting):
                assert not upgrade.done()
        live_through(opened, job, number)
        assert not upgrade.done()
        reader.rollback()
        upgrade.result()
    assert opened.run(objects.pending, job, 0, 9)[0].deaths == 0
    assert ask(opened, "SELECT deaths FROM objects") == [{"deaths": 0}]


def test_an_upgrade_that_waits_in_vain_says_for_what(old: Settings) -> None:
    with pymysql.connect(**connect_options(old)) as reader, reader.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM objects")
        with pytest.raises(LedgerUnavailable, match=r"in use.*PROCESSLIST"):
            schema.upgrade(old, in_use_seconds=0.0)
    schema.upgrade(old)


def test_a_column_that_is_missing_is_still_said(old: Settings, opened: Database) -> None:
    """Looking the name up again is done once."""
    job, _ = one_object(opened)
    change(old, ("ALTER TABLE objects RENAME COLUMN attempts TO tries",))
    with pytest.raises(TablesMissing, match="sluice db upgrade"):
        opened.run(objects.pending, job, 0, 9)
