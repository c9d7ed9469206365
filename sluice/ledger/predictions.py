"""The table `predictions`: the one transaction that makes a prediction exist, and reading them in pages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Final

from sluice.ledger import counters
from sluice.ledger.connection import Cursor
from sluice.ledger.rows import Prediction, Result

LABEL_MAX: Final = 128


def commit(cursor: Cursor, rows: Sequence[Prediction]) -> set[int]:
    """Commit predictions; the first one for an object wins. Give the objects that are done by this call.

    Objects that are done, given up or superseded meanwhile are left alone, so a late or repeated commit has no effect.
    The rows are locked in order of id, which keeps two commits from waiting for each other.
    """
    first: dict[int, Prediction] = {}
    for row in rows:
        first.setdefault(row.object_id, row)
    if not first:
        return set()
    cursor.execute(
        "SELECT id FROM objects WHERE id IN %s AND state = 'pending' ORDER BY id FOR UPDATE", (sorted(first),)
    )
    open_ids = [row["id"] for row in cursor.fetchall()]
    if not open_ids:
        return set()
    new = [first[object_id] for object_id in open_ids]
    cursor.executemany(
        "INSERT INTO predictions (object_id, job_id, model_id, label, score, top, sha256, consumer) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        [
            (
                row.object_id,
                row.job_id,
                row.model_id,
                row.label[:LABEL_MAX],
                row.score,
                json.dumps(row.top, ensure_ascii=False),
                row.sha256,
                row.consumer,
            )
            for row in new
        ],
    )
    cursor.execute("UPDATE objects SET state = 'done', updated = CURRENT_TIMESTAMP(3) WHERE id IN %s", (open_ids,))
    for job_id, count in sorted(Counter(row.job_id for row in new).items()):
        counters.add(cursor, job_id, done=count)
    return set(open_ids)


def results(cursor: Cursor, job_id: int, *, after_id: int = 0, limit: int = 1000) -> list[Result]:
    """Give a page of a job's results in order of object id."""
    cursor.execute(
        "SELECT r.* FROM (SELECT id FROM objects FORCE INDEX (by_state) WHERE job_id = %s AND state = 'done' "
        "AND id > %s ORDER BY id LIMIT %s) page JOIN results r ON r.object_id = page.id ORDER BY r.object_id",
        (job_id, after_id, limit),
    )
    return [
        Result(
            row["object_id"],
            row["job"],
            row["url"],
            row["label"],
            row["score"],
            row["model"],
            row["predicted"],
            tuple((label, score) for label, score in json.loads(row["top"])),
        )
        for row in cursor.fetchall()
    ]
