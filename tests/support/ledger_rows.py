"""Rows that the ledger's tests start with, and those that a statement finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sluice import ledger
from sluice.domain import ListedObject
from sluice.ledger import Database, LedgerCursor, Prediction

SOURCE = "s3://photos"


def ask(database: Database, statement: str, *values: object) -> list[dict[str, Any]]:
    """Return the rows of a statement."""

    def work(cursor: LedgerCursor) -> list[dict[str, Any]]:
        cursor.execute(statement, values or None)
        return list(cursor.fetchall())

    return database.run(work)


def register(cursor: LedgerCursor, version: str = "1") -> int:
    """Register a model and make it live."""
    ledger.models.register(cursor, "model", version, version * 64, {"resize": 256}, ["cat", "dög"])
    return ledger.models.promote(cursor, "model", version).id


def running_job(database: Database, *, repeats: int = 1) -> int:
    """Submit a job and start it."""

    def work(cursor: LedgerCursor) -> int:
        model = register(cursor)
        job = ledger.jobs.submit(cursor, SOURCE, repeats=repeats)
        assert ledger.jobs.start(cursor, job, model)
        return job

    return database.run(work)


def entries(keys: Iterable[bytes], etag: str = "e") -> list[ListedObject]:
    """Return listing entries in key order."""
    return [ListedObject(key, etag, len(key)) for key in sorted(keys)]


def list_all(database: Database, job: int, page: list[ListedObject]) -> None:
    """Make one page the whole listing of a job."""
    database.run(ledger.listing.add_page, job, page, repeat_no=0, last=True, repeats=1)


def ids_of(database: Database, job: int) -> dict[bytes, int]:
    """Return the pending objects of a job by key."""
    return {row.key: row.id for row in database.run(ledger.objects.pending, job, 0, 100_000)}


def prediction(object_id: int, job: int, label: str = "cat", consumer: str = "test") -> Prediction:
    """Return a prediction as a consumer commits it; the tests' model has id 1."""
    return Prediction(object_id, job, 1, label, 0.75, ((label, 0.75), ("dög", 0.25)), b"\x00\xff" * 16, consumer)


def reads(database: Database, work: Callable[[LedgerCursor], object]) -> int:
    """Count the rows and index entries that the server reads for `work`."""

    def count() -> int:
        found = ask(database, "SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum(int(row["Value"]) for row in found)

    before = count()
    overhead = count() - before
    database.run(work)
    return count() - before - 2 * overhead


def breaches(database: Database) -> list[str]:
    """Return the broken invariants."""
    return [f"{breach.invariant}: {breach.sentence}" for breach in database.run(ledger.check.check)]
