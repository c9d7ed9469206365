"""Revision 0010, smaller indexes by content: up and down with rows, the same answers, processes at work meanwhile."""

from __future__ import annotations

from typing import Final

import pytest

from sluice.ledger import Database, again, schema
from sluice.ledger.again import Repetition
from sluice.settings import Settings
from tests.support.compared_jobs import add_job, add_version
from tests.support.ledger_rows import ask, breaches, reads
from tests.support.tables_changing import rows_of, tables_at, working
from tools.stack import Servers

BEFORE: Final = "0009"
REVISION: Final = "0010"
KEPT: Final = ("jobs", "objects", "predictions", "counters", "listings", "models", "trial_predictions")
KEYS: Final = (b"2024/01/a", b"2024/01/b", b"2024/01/c")
"""Their contents begin with the same eight bytes (`compared_jobs.content`)."""
ANSWERS: Final = {KEYS[0]: "cow", KEYS[1]: "cat"}


@pytest.fixture
def before(servers: Servers, database_name: str) -> Settings:
    """Reach tables as they were before."""
    return tables_at(servers, database_name, BEFORE)


def indexed(database: Database) -> list[int | None]:
    """Return how many bytes of the digest each index has; None: all."""
    rows = ask(
        database,
        "SELECT sub_part AS part FROM information_schema.statistics WHERE table_schema = DATABASE() "
        "AND index_name = 'by_content' AND column_name = 'sha256'",
    )
    return [row["part"] for row in rows]


def answers(database: Database, earlier: int, model: int) -> dict[bytes, str]:
    """Return what a version has said of the contents that a job met."""
    page = database.run(again.read_page, Repetition(earlier), model, b"done:0")
    return {key: known.label for key, known in page.answers.items()}


def test_contents_that_begin_alike_are_told_apart(before: Settings) -> None:
    with Database(before) as database:
        earlier = add_job(database, dict.fromkeys(KEYS, ("dog", 0.5)))
        add_job(database, {KEYS[0]: ("cow", 0.5), KEYS[1]: ("cat", 0.5)}, "2")
        model = database.run(add_version, "2")
        old = rows_of(database, KEPT)
        steps = {BEFORE: [None, None], REVISION: [8, 8]}
        for revision in (BEFORE, REVISION, REVISION, BEFORE, REVISION):
            if indexed(database) == steps[REVISION] and revision == BEFORE:
                schema.downgrade(before, BEFORE)
            else:
                schema.upgrade(before, revision)
            assert indexed(database) == steps[revision]
            assert answers(database, earlier, model) == ANSWERS
            assert rows_of(database, KEPT) == old
        # As where an upgrade was cut off between the two tables: it is run again.
        ask(database, f"UPDATE alembic_version SET version_num = '{BEFORE}'")
        ask(database, "ALTER TABLE trial_predictions DROP INDEX by_content, ADD INDEX by_content (sha256, model_id)")
        schema.upgrade(before, REVISION)
        assert indexed(database) == steps[REVISION]
        assert breaches(database) == []


def test_a_content_is_found_without_reading_those_of_other_versions(before: Settings) -> None:
    """The model's id is looked up in the index, too: a picture that many versions answered costs no more."""
    schema.upgrade(before, REVISION)
    with Database(before) as database:
        earlier = add_job(database, {KEYS[0]: ("dog", 0.5)})
        model = database.run(add_version, "9")
        first = reads(database, lambda c: again.read_page(c, Repetition(earlier), model, b"done:0"))
        for version in "2345678":
            add_job(database, [{KEYS[0]: ("cat", 0.5)}] * 5, version)
        ask(database, "ANALYZE TABLE predictions")
        assert reads(database, lambda c: again.read_page(c, Repetition(earlier), model, b"done:0")) <= first + 2


def test_indexes_change_under_processes_at_work(before: Settings) -> None:
    with Database(before) as database, Database(before) as other:
        earlier = add_job(database, dict.fromkeys(KEYS, ("dog", 0.5)))
        add_job(database, {KEYS[0]: ("cow", 0.5), KEYS[1]: ("cat", 0.5)}, "2")
        model = database.run(add_version, "2")

        def commit() -> None:
            add_job(database, {b"k": ("cat", 0.5)}, "3")

        def look() -> None:
            assert answers(other, earlier, model) == ANSWERS

        with working(commit, look) as go_on:
            for _ in range(2):
                schema.upgrade(before, REVISION)
                go_on()
                schema.downgrade(before, BEFORE)
                go_on()
        assert breaches(database) == []
