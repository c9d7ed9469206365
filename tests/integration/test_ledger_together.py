"""Statements that go to the server together with the COMMIT: all of them, or none; and only where that is wanted."""

from __future__ import annotations

from dataclasses import replace

import pymysql
import pytest

from sluice.errors import LedgerError
from sluice.ledger import Database, LedgerCursor, pictures
from sluice.ledger.pictures import ANONYMOUS, Picture
from sluice.settings import Settings
from tests.support.ledger_rows import ask, breaches, register

TOP = (("cat; DROP TABLE answers; -- 📷", 0.9), ("dog's", 0.1))


def dropped(key: bytes) -> Picture:
    return Picture(ANONYMOUS, 1, "s3://own/", key, "e", 1, key.ljust(32), "a;'b\\.jpg", TOP, "gateway")


def count(cursor: LedgerCursor, table: str) -> int:
    cursor.execute(f"SELECT COUNT(*) AS there FROM {table}")
    row = cursor.fetchone()
    assert row is not None
    return int(row["there"])


def test_a_picture_is_recorded_with_all_that_belongs_to_it(ledger: Database, settings: Settings) -> None:
    ledger.run(register)
    with Database(settings, joins=True) as database:
        first = database.run(pictures.record, [dropped(b"one")])
        more = database.run(pictures.record, [dropped(b"two"), dropped(b"one"), dropped(b"three")])
        assert more[1] == first[0]
        assert len({*first, *more}) == 3
        found = database.run(pictures.recall, ANONYMOUS, 1, b"two".ljust(32), "s3://own/", b"two", 30)
        assert (found.top, found.object_id) == (TOP, more[0])
    assert {name: ledger.run(count, name) for name in ("objects", "predictions", "pictures", "answers")} == {
        "objects": 3,
        "predictions": 3,
        "pictures": 3,
        "answers": 3,
    }
    assert breaches(ledger) == []


def test_one_that_fails_commits_none(ledger: Database, settings: Settings) -> None:
    """It is raised as by itself, and the connection goes on."""

    def fail(cursor: LedgerCursor) -> None:
        cursor.hold_back()
        cursor.execute("INSERT INTO answers (sha256, model_id, top) VALUES (%s, 1, '[]')", (b"a" * 32,))
        cursor.execute("INSERT INTO answers (sha256, model_id, top) VALUES (%s, 1, NULL)", (b"b" * 32,))
        cursor.execute("INSERT INTO answers (sha256, model_id, top) VALUES (%s, 1, '[]')", (b"c" * 32,))

    with Database(settings, joins=True) as database:
        with pytest.raises(LedgerError, match="refused a statement"):
            database.run(fail)
        assert database.run(count, "answers") == 0
    assert ledger.run(count, "answers") == 0


def test_other_connections_take_one_statement_at_a_time(ledger: Database) -> None:
    def two(cursor: LedgerCursor) -> None:
        cursor.hold_back()
        cursor.execute("SELECT 1; SELECT 2")

    with pytest.raises(LedgerError, match="refused a statement") as caught:
        ledger.run(two)
    assert isinstance(caught.value.__cause__, pymysql.ProgrammingError)


def test_a_picture_that_is_kept_elsewhere_belongs_to_another_job(ledger: Database) -> None:
    """SLUICE_GATEWAY_STORE was changed: urls name the bucket that has the bytes, and back again makes no third job."""
    ledger.run(register)
    (first,) = ledger.run(pictures.record, [dropped(b"one")])
    moved = replace(dropped(b"one"), source="s3://new/")
    known = ledger.run(pictures.recall, ANONYMOUS, 1, moved.sha256, moved.source, moved.key, 30)
    assert (known.top, known.object_id, known.job_id) == (TOP, None, None)
    (second,) = ledger.run(pictures.record, [moved])
    (third,) = ledger.run(pictures.record, [dropped(b"two")])
    urls = {row["object_id"]: row["url"] for row in ask(ledger, "SELECT object_id, url FROM results")}
    assert urls == {first: "s3://own/one", second: "s3://new/one", third: "s3://own/two"}
    assert ledger.run(count, "jobs") == 2
    assert ledger.run(count, "standing_jobs") == 1
    assert breaches(ledger) == []
