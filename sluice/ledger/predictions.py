"""The table `predictions`: the transaction that commits predictions, and reading them in pages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import pymysql

from sluice.domain import LABEL_MAX
from sluice.ledger import counters, tallies
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.objects import lock_pending
from sluice.ledger.rows import Prediction, Result, packed_top, shortened

CONSUMER_MAX: Final = 64
SET_BACK: Final = "set back"
"""In a transaction's memory: objects that are pending may have predictions."""


def commit(cursor: LedgerCursor, rows: Sequence[Prediction]) -> set[int]:
    """Commit predictions; the first one for an object wins. Return the objects whose predictions this call inserted.

    Objects that aren't pending any more are skipped, so a late or repeated commit has no effect. Rows that another
    transaction has locked are skipped too: `objects.still_pending` returns those that must be committed later.
    """
    first: dict[int, Prediction] = {}
    for row in rows:
        first.setdefault(row.object_id, row)
    job_of = lock_pending(cursor, first)
    if not job_of:
        return set()
    has = _predicted(cursor, job_of) if cursor.memory.get(SET_BACK) else set()
    new = [object_id for object_id in job_of if object_id not in has]
    try:
        _insert(cursor, [(object_id, job_of[object_id], first[object_id]) for object_id in new])
    except pymysql.IntegrityError:
        # Somebody set objects that have predictions back to pending, in SQL: those stay, and the next try looks which.
        cursor.memory[SET_BACK] = True
        raise
    cursor.execute("UPDATE objects SET state = 'done', updated = CURRENT_TIMESTAMP(3) WHERE id IN %s", (list(job_of),))
    by_job = {
        job: [first[each] for each in new if job_of[each] == job] for job in sorted({job_of[each] for each in new})
    }
    tallies.add(cursor, by_job)
    for job_id, found in by_job.items():
        counters.add(cursor, job_id, done=len(found))
    return set(new)


def _predicted(cursor: LedgerCursor, ids: Iterable[int]) -> set[int]:
    """Return which of the objects have a prediction."""
    cursor.execute("SELECT object_id FROM predictions WHERE object_id IN %s", (sorted(ids),))
    return {row["object_id"] for row in cursor.fetchall()}


def _insert(cursor: LedgerCursor, rows: Sequence[tuple[int, int, Prediction]]) -> None:
    """Insert the predictions of objects of jobs."""
    cursor.executemany(
        "INSERT INTO predictions (object_id, job_id, model_id, label, score, top, sha256, consumer) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        [
            (
                object_id,
                job_id,
                row.model_id,
                shortened(row.label, LABEL_MAX),
                row.score,
                packed_top(row.top),
                row.sha256,
                shortened(row.consumer, CONSUMER_MAX),
            )
            for object_id, job_id, row in rows
        ],
    )


def results(cursor: LedgerCursor, job_id: int, *, after_id: int = 0, limit: int = 1000) -> list[Result]:
    """Return a page of a job's results in order of object id; only the last one is shorter than `limit`."""
    found: list[Result] = []
    while True:
        wanted = limit - len(found)
        cursor.execute(
            "SELECT page.id AS place, r.* FROM (SELECT id FROM objects FORCE INDEX (by_state) WHERE job_id = %s "
            "AND state = 'done' AND id > %s ORDER BY id LIMIT %s) page LEFT JOIN results r ON r.object_id = page.id "
            "ORDER BY page.id",
            (job_id, after_id, wanted),
        )
        rows = cursor.fetchall()
        # Somebody may have deleted predictions in SQL: that must not look like the end.
        found += [make_result(row) for row in rows if row["object_id"] is not None]
        if len(rows) < wanted or len(found) == limit:
            return found
        after_id = rows[-1]["place"]


def make_result(row: dict[str, Any]) -> Result:
    """Return a row of the view `results` as a Result."""
    return Result(
        row["object_id"],
        row["job"],
        row["url"],
        row["label"],
        row["score"],
        row["model"],
        row["predicted"],
        tuple((label, score) for label, score in json.loads(row["top"])),
    )
