"""Revision 0005, what compares, repeats and prunes jobs: up and down with rows, and on tables without it."""

from __future__ import annotations

from typing import Final

import pytest

from sluice.domain import ListedObject
from sluice.errors import TablesMissing
from sluice.ledger import Database, again, comparisons, jobs, listing, pruning, schema
from sluice.ledger.again import Repetition
from sluice.ledger.pruning import PruneWish
from sluice.settings import Settings
from tests.support.compared_jobs import add_job, age
from tests.support.ledger_rows import ask, breaches, ids_of, running_job
from tests.support.tables_changing import rows_of, tables_at
from tools.stack import Servers

BEFORE: Final = "0004"
REVISION: Final = "0005"
KEPT: Final = ("jobs", "objects", "predictions", "counters", "listings", "models")


@pytest.fixture
def before(servers: Servers, database_name: str) -> Settings:
    """Reach tables as they were before."""
    return tables_at(servers, database_name, BEFORE)


def test_up_and_down_keeps_the_rows(before: Settings) -> None:
    with Database(before) as database:
        first = add_job(database, {b"a": ("cat", 0.5), b"b": ("cat", 0.5), b"c": None})
        second = add_job(database, {b"a": ("dog", 0.5)})
        old = rows_of(database, KEPT)
        schema.upgrade(before, REVISION)
        new = rows_of(database, KEPT)
        empty = {"again_of": None, "again_below": None, "again_label": None, "pruned": None}
        assert new == old | {"jobs": [row | empty for row in old["jobs"]]}
        number = database.run(comparisons.begin, first, second)
        while database.run(comparisons.advance, number):
            pass
        assert ask(database, "SELECT kind FROM differences ORDER BY kind") == [{"kind": "changed"}, {"kind": "gone"}]
        # As where an upgrade was cut off after a statement: it is run again.
        ask(database, f"UPDATE alembic_version SET version_num = '{BEFORE}'")
        ask(database, "DROP VIEW prediction_diff")
        ask(database, "ALTER TABLE jobs DROP COLUMN pruned")
        schema.upgrade(before, REVISION)
        assert len(ask(database, "SELECT * FROM prediction_diff")) == 2 * 2
        schema.downgrade(before, BEFORE)
        assert rows_of(database, KEPT) == old
        assert breaches(database) == []


def test_tables_without_it_serve_until_they_are_upgraded(before: Settings) -> None:
    """Jobs are listed and change as ever; what needs the new tables says how to get them."""
    with Database(before) as database:
        done = add_job(database, {b"a": ("cat", 0.5)})
        age(database, done, 1)
        assert database.run(again.of_job, done) is None
        job = running_job(database)
        database.run(listing.add_page, job, [ListedObject(b"k", "1", 1)], repeat_no=0, last=True, repeats=1)
        changed = {ids_of(database, job)[b"k"]: ListedObject(b"k", "2", 1)}
        assert database.run(listing.add_changed, job, changed).superseded == 1
        for work in (
            lambda c: again.submit(c, Repetition(done)),
            lambda c: comparisons.begin(c, done, job),
            lambda c: pruning.prunable(c, PruneWish(days=0)),
        ):
            with pytest.raises(TablesMissing, match="sluice db upgrade"):
                database.run(work)
        assert [each.id for each in database.run(jobs.list_jobs)] == [done, job]
        assert breaches(database) == []
