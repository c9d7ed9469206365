"""The table `objects` after listing: what is pending, what is given up, what is tried again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sluice.ledger import counters, jobs
from sluice.ledger.connection import Cursor
from sluice.ledger.rows import Failed, PendingObject, Quarantined

BLOCK: Final = 1024
"""Shards own blocks of so many neighbouring ids."""
DEATHS: Final = 3
DETAIL_MAX: Final = 500
REPLAY_ROWS: Final = 1000


def pending(
    cursor: Cursor, job_id: int, after_id: int, limit: int, shard: int = 0, shards: int = 1
) -> list[PendingObject]:
    """Give the next pending objects of a shard after an id, in order of id."""
    # Without the hint MariaDB may read the index from its start, or the whole primary key.
    cursor.execute(
        "SELECT id, object_key, etag, size, attempts FROM objects FORCE INDEX (by_state) "
        "WHERE job_id = %s AND state = 'pending' AND id > %s AND (id DIV %s) MOD %s = %s ORDER BY id LIMIT %s",
        (job_id, after_id, BLOCK, shards, shard, limit),
    )
    return [
        PendingObject(row["id"], row["object_key"], row["etag"], row["size"], row["attempts"])
        for row in cursor.fetchall()
    ]


def quarantine(cursor: Cursor, failures: Sequence[Failed]) -> int:
    """Give up pending objects; what is pending no more stays as it is. Give how many were quarantined."""
    if not failures:
        return 0
    cursor.execute(
        "SELECT id, job_id FROM objects WHERE id IN %s AND state = 'pending' ORDER BY id FOR UPDATE",
        (sorted({failure.object_id for failure in failures}),),
    )
    job_of = {row["id"]: row["job_id"] for row in cursor.fetchall()}
    given_up = {failure.object_id: failure for failure in failures if failure.object_id in job_of}
    for failure in given_up.values():
        cursor.execute(
            "UPDATE objects SET state = 'quarantined', reason = %s, detail = %s, updated = CURRENT_TIMESTAMP(3) "
            "WHERE id = %s",
            (failure.reason, failure.detail[:DETAIL_MAX], failure.object_id),
        )
    _count(cursor, [job_of[object_id] for object_id in given_up], sign=1)
    return len(given_up)


def count_death(cursor: Cursor, ids: Sequence[int]) -> list[int]:
    """Note that a consumer died with these objects; give those that had enough of it and are now quarantined."""
    if not ids:
        return []
    cursor.execute(
        "UPDATE objects SET attempts = LEAST(attempts + 1, 255) WHERE id IN %s AND state = 'pending'", (sorted(ids),)
    )
    cursor.execute(
        "SELECT id FROM objects WHERE id IN %s AND state = 'pending' AND attempts >= %s", (sorted(ids), DEATHS)
    )
    condemned = [row["id"] for row in cursor.fetchall()]
    quarantine(
        cursor, [Failed(object_id, "killed_consumers", f"{DEATHS} consumers died with it") for object_id in condemned]
    )
    return condemned


def replay(
    cursor: Cursor, job_id: int | None = None, ids: Sequence[int] | None = None, reason: str | None = None
) -> int:
    """Make quarantined objects pending again, at most a thousand a call; give how many. Done jobs run again."""
    where, values = _selection(job_id, ids, reason)
    cursor.execute(
        f"SELECT id, job_id FROM objects WHERE state = 'quarantined'{where} ORDER BY id LIMIT %s FOR UPDATE",
        (*values, REPLAY_ROWS),
    )
    rows = cursor.fetchall()
    if rows:
        cursor.execute(
            "UPDATE objects SET state = 'pending', attempts = 0, reason = NULL, detail = NULL, "
            "updated = CURRENT_TIMESTAMP(3) WHERE id IN %s",
            ([row["id"] for row in rows],),
        )
        _count(cursor, [row["job_id"] for row in rows], sign=-1)
        for found in sorted({row["job_id"] for row in rows}):
            jobs.reopen(cursor, found)
    return len(rows)


def list_quarantined(
    cursor: Cursor,
    job_id: int | None = None,
    *,
    limit: int = 100,
    after_id: int = 0,
    ids: Sequence[int] | None = None,
    reason: str | None = None,
) -> list[Quarantined]:
    """Give a page of the quarantine, in order of id."""
    where, values = _selection(job_id, ids, reason, prefix="o.")
    cursor.execute(
        "SELECT o.id, o.job_id, i.url, o.reason, o.detail, o.size, o.attempts, o.updated "
        "FROM objects o JOIN images i ON i.object_id = o.id "
        f"WHERE o.state = 'quarantined' AND o.id > %s{where} ORDER BY o.id LIMIT %s",
        (after_id, *values, limit),
    )
    return [
        Quarantined(
            row["id"],
            row["job_id"],
            row["url"],
            row["reason"],
            row["detail"] or "",
            row["size"],
            row["attempts"],
            row["updated"],
        )
        for row in cursor.fetchall()
    ]


def count_reasons(cursor: Cursor, job_id: int) -> dict[str, int]:
    """Count a job's quarantine by reason; reads as many index entries as there are quarantined objects."""
    cursor.execute(
        "SELECT reason, COUNT(*) AS n FROM objects WHERE job_id = %s AND state = 'quarantined' "
        "GROUP BY reason ORDER BY n DESC, reason",
        (job_id,),
    )
    return {row["reason"]: row["n"] for row in cursor.fetchall()}


def _selection(
    job_id: int | None, ids: Sequence[int] | None, reason: str | None, prefix: str = ""
) -> tuple[str, list[object]]:
    where, values = "", list[object]()
    # Without a job the index can still be used: jobs are few, and each is one range of it.
    where += f" AND {prefix}job_id = %s" if job_id is not None else f" AND {prefix}job_id IN (SELECT id FROM jobs)"
    values += [job_id] if job_id is not None else []
    if ids is not None:
        where += f" AND {prefix}id IN %s"
        values.append(list(ids) or [0])
    if reason is not None:
        where += f" AND {prefix}reason = %s"
        values.append(reason)
    return where, values


def _count(cursor: Cursor, of_jobs: Sequence[int], *, sign: int) -> None:
    for job_id in sorted(set(of_jobs)):
        counters.add(cursor, job_id, quarantined=sign * of_jobs.count(job_id))
