"""Revision 0009, what notices drift: up and down with rows, and processes of this release on tables without it."""

from __future__ import annotations

from typing import Final

import pytest

from sluice.errors import TablesMissing
from sluice.ledger import Database, QuarantineEntry, drift_pages, drifting, models, objects, predictions, schema
from sluice.settings import Settings
from tests.support.drifting import SIZE, add_objects, classify, count_all, pictures, predictions_of, told
from tests.support.ledger_rows import ask, breaches, running_job
from tests.support.tables_changing import rows_of, tables_at, working
from tools.stack import Servers

BEFORE: Final = "0008"
REVISION: Final = "0009"
KEPT: Final = ("jobs", "objects", "predictions", "counters", "listings", "models", "feedback")
TABLES: Final = ("tallies", "drift_references", "drift_windows", "drift_findings", "label_days", "picture_days")


@pytest.fixture
def before(servers: Servers, database_name: str) -> Settings:
    """Reach tables as they were before."""
    return tables_at(servers, database_name, BEFORE)


def test_up_and_down_keeps_the_rows(before: Settings) -> None:
    with Database(before) as database:
        job = running_job(database)
        classify(database, job, pictures(10))
        old = rows_of(database, KEPT)
        schema.upgrade(before, REVISION)
        assert rows_of(database, KEPT) == old
    with Database(before) as database:
        classify(database, job, pictures(2 * SIZE))
        count_all(database)
        assert {row["state"] for row in told(database)} == {"calm"}
        assert [table for table in TABLES if table != "tallies" and not ask(database, f"SELECT 1 FROM {table}")] == []
        # As where an upgrade was cut off after a statement: it is run again.
        ask(database, f"UPDATE alembic_version SET version_num = '{BEFORE}'")
        ask(database, "DROP VIEW drift")
        ask(database, "DROP TABLE picture_days")
        schema.upgrade(before, REVISION)
        assert len(told(database)) > 1
        old = rows_of(database, KEPT)
        schema.downgrade(before, BEFORE)
        assert rows_of(database, KEPT) == old
        assert breaches(database) == []


def test_tables_come_and_go_under_a_process_at_work(before: Settings) -> None:
    """A connection counts nothing on tables without it, and goes on when they vanish."""
    with Database(before) as database, Database(before) as other:
        job = running_job(database)

        def commit() -> None:
            some = add_objects(other, job, 2)
            assert other.run(predictions.commit, predictions_of(some[:1], job, pictures(1))) == {some[0]}
            assert other.run(objects.quarantine, [QuarantineEntry(some[1], "corrupt", "")]) == 1

        with working(commit) as go_on:
            for _ in range(2):
                schema.upgrade(before, REVISION)
                go_on()
                schema.downgrade(before, BEFORE)
                go_on()
        assert breaches(database) == []


def test_tables_without_it_say_how_to_get_it(before: Settings) -> None:
    with Database(before) as database:
        running_job(database)
        assert database.run(drifting.models_to_count) == []
        assert database.run(drift_pages.live) == []
        with pytest.raises(TablesMissing, match="sluice db upgrade"):
            database.run(drift_pages.versions)
        models_there = database.run(models.list_models)
        assert [each.live for each in models_there] == [True]
