"""Revision 0008, trials: up and down with rows, on tables without it, and with consumers that know nothing of it."""

from __future__ import annotations

from typing import Final

import pytest

from sluice.domain import ListedObject
from sluice.ledger import Database, listing, models, pruning, schema, serving, trials
from sluice.settings import Settings
from tests.support.compared_jobs import add_job, age
from tests.support.ledger_rows import ask, breaches
from tests.support.tables_changing import rows_of, tables_at
from tests.support.tried_jobs import Tried, add_tried_job, begin_trial
from tools.stack import Servers

BEFORE: Final = "0007"
REVISION: Final = "0008"
KEPT: Final = ("jobs", "objects", "predictions", "counters", "listings", "models", "current")


@pytest.fixture
def before(servers: Servers, database_name: str) -> Settings:
    """Reach tables as they were before."""
    return tables_at(servers, database_name, BEFORE)


def test_up_and_down_keeps_the_rows(before: Settings) -> None:
    with Database(before) as database:
        add_job(database, {b"a": ("cat", 0.5), b"b": ("cat", 0.5), b"c": None})
        database.run(models.promote, "animals", "1")
        old = rows_of(database, KEPT)
        schema.upgrade(before, REVISION)
        assert rows_of(database, KEPT) == old
        trial = begin_trial(database, shadow=False)
        add_tried_job(database, trial, {b"a": Tried("", "dog"), b"d": Tried("cat", "")})
        assert {row["model"] for row in ask(database, "SELECT model FROM current")} == {"animals@1", "animals@2"}
        # As where an upgrade was cut off after a statement: it is run again.
        ask(database, f"UPDATE alembic_version SET version_num = '{BEFORE}'")
        ask(database, "DROP VIEW trial_progress")
        schema.upgrade(before, REVISION)
        assert int(ask(database, "SELECT answered FROM trial_progress")[0]["answered"]) == 1
        new = rows_of(database, KEPT)
        schema.downgrade(before, BEFORE)
        now = rows_of(database, KEPT)
        assert {table: now[table] for table in KEPT[:-1]} == {table: new[table] for table in KEPT[:-1]}
        assert {row["model"] for row in now["current"]} == {"animals@1"}


def test_tables_without_it_serve_until_they_are_upgraded(before: Settings) -> None:
    """Nobody finds a trial there, and objects change and go as ever."""
    with Database(before) as database:
        job = add_job(database, {b"a": ("cat", 0.5)})
        assert database.run(trials.active) == []
        assert database.run(serving.wanted) == []
        assert database.run(listing.upsert_keys, job, [ListedObject(b"a", "new", 1)]).superseded == 1
        assert breaches(database) == []
        ask(database, "UPDATE jobs SET state = 'cancelled'")
        age(database, job, 1)
        assert database.run(pruning.begin, job)
        while database.run(pruning.prune, job)[1]:
            pass
        assert ask(database, "SELECT * FROM objects") == []
