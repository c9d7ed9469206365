"""The table `objects` after listing: pending objects, the quarantine, replays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sluice.domain import Reason
from sluice.errors import LedgerError
from sluice.ledger import counters, jobs, tallies
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.rows import DETAIL_MAX, PendingObject, QuarantinedObject, QuarantineEntry, shortened

BLOCK: Final = 1024
"""Shards own blocks of so many consecutive ids."""
DEATHS: Final = 3
REPLAY_ROWS: Final = 1000
MOST_COUNTED: Final = 255
"""Maximum of the column that counts deaths."""
CASES: Final = 100
"""Rows with different values in one UPDATE. The server scans the cases for each row, so a thousand would be slower."""
MAX_ID: Final = 2**64 - 1


def pending(
    cursor: LedgerCursor, job_id: int, after_id: int, limit: int, shard: int = 0, shards: int = 1
) -> list[PendingObject]:
    """Return a shard's next pending objects after an id, in id order; fewer than the limit: these are the last."""
    if shards == 1:
        return _pending(cursor, job_id, after_id, MAX_ID, limit)
    found: list[PendingObject] = []
    while len(found) < limit:
        # Block by block, so that other shards' pending rows are skipped instead of read.
        begin = _own_block(after_id + 1, shard, shards)
        after_id = max(after_id, begin - 1)
        end = begin + BLOCK - 1
        found += _pending(cursor, job_id, after_id, end, limit - len(found))
        if len(found) < limit:
            following = _pending(cursor, job_id, end, MAX_ID, 1)
            if not following:
                break
            after_id = following[0].id - 1
    return found


def _own_block(object_id: int, shard: int, shards: int) -> int:
    """Return the first id of the shard's block that has this id, or of its next block."""
    block = object_id // BLOCK
    return (block + (shard - block) % shards) * BLOCK


def _pending(cursor: LedgerCursor, job_id: int, after_id: int, last_id: int, limit: int) -> list[PendingObject]:
    # Without the hint a server may scan the primary key, including everything that is done.
    cursor.execute(
        f"SELECT id, object_key, etag, size, {cursor.deaths_column} AS deaths FROM objects FORCE INDEX (by_state) "
        "WHERE job_id = %s AND state = 'pending' AND id > %s AND id <= %s ORDER BY id LIMIT %s",
        (job_id, after_id, last_id, limit),
    )
    return [
        PendingObject(row["id"], row["object_key"], row["etag"], row["size"], row["deaths"])
        for row in cursor.fetchall()
    ]


def some_done(cursor: LedgerCursor, job_id: int, limit: int) -> list[tuple[bytes, str]]:
    """Return key and ETag of the newest done objects of a job."""
    cursor.execute(
        "SELECT object_key, etag FROM objects FORCE INDEX (by_state) "
        "WHERE job_id = %s AND state = 'done' ORDER BY id DESC LIMIT %s",
        (job_id, limit),
    )
    return [(row["object_key"], row["etag"]) for row in cursor.fetchall()]


def quarantine(cursor: LedgerCursor, failures: Sequence[QuarantineEntry]) -> int:
    """Quarantine pending objects; return their number. Others, and those that are locked, are skipped."""
    job_of = lock_pending(cursor, [failure.object_id for failure in failures])
    given_up = {failure.object_id: failure for failure in failures if failure.object_id in job_of}
    _give_up(cursor, list(given_up.values()))
    tallies.add_undecodable(cursor, list(given_up.values()), job_of)
    _count(cursor, [job_of[object_id] for object_id in given_up], sign=1)
    return len(given_up)


def _give_up(cursor: LedgerCursor, failures: Sequence[QuarantineEntry]) -> None:
    for first in range(0, len(failures), CASES):
        rows = failures[first : first + CASES]
        each = f"CASE id {'WHEN %s THEN %s ' * len(rows)}END"
        reasons = [value for row in rows for value in (row.object_id, row.reason)]
        details = [value for row in rows for value in (row.object_id, shortened(row.detail, DETAIL_MAX))]
        cursor.execute(
            f"UPDATE objects SET state = 'quarantined', reason = {each}, detail = {each}, "
            "updated = CURRENT_TIMESTAMP(3) WHERE id IN %s",
            (*reasons, *details, [row.object_id for row in rows]),
        )


def lock_pending(cursor: LedgerCursor, ids: Iterable[int]) -> dict[int, int]:
    """Lock those of the objects that are pending and that nobody else has locked; id -> job.

    Locked rows are skipped, so that one idle connection can't block the others.
    """
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    cursor.execute(
        "SELECT id, job_id FROM objects FORCE INDEX (PRIMARY) WHERE id IN %s AND state = 'pending' "
        "ORDER BY id FOR UPDATE SKIP LOCKED",
        (wanted,),
    )
    return {row["id"]: row["job_id"] for row in cursor.fetchall()}


def still_pending(cursor: LedgerCursor, ids: Iterable[int]) -> set[int]:
    """Return which of the objects are still pending: others had them locked during a commit or quarantine."""
    wanted = sorted(set(ids))
    if not wanted:
        return set()
    cursor.execute(
        "SELECT id FROM objects FORCE INDEX (PRIMARY) WHERE id IN %s AND state = 'pending' ORDER BY id", (wanted,)
    )
    return {row["id"] for row in cursor.fetchall()}


def count_death(cursor: LedgerCursor, known: Mapping[int, int]) -> list[int]:
    """Count a consumer's death for these objects; return those that are now quarantined because of it.

    They are passed as id -> deaths counted before, so a retry counts nothing twice, even after a lost answer. A locked
    object isn't counted now; its next death includes this one.
    """
    open_ids = lock_pending(cursor, known)
    column = cursor.deaths_column
    for deaths in sorted({known[object_id] for object_id in open_ids}):
        cursor.execute(
            f"UPDATE objects SET {column} = GREATEST({column}, %s) WHERE id IN %s",
            (min(deaths + 1, MOST_COUNTED), [object_id for object_id in open_ids if known[object_id] == deaths]),
        )
    enough = [object_id for object_id in open_ids if known[object_id] + 1 >= DEATHS]
    detail = f"{DEATHS} consumers died with it"
    quarantine(cursor, [QuarantineEntry(object_id, Reason.KILLED_CONSUMERS, detail) for object_id in enough])
    return _killers(cursor, known)


def _killers(cursor: LedgerCursor, ids: Iterable[int]) -> list[int]:
    cursor.execute(
        "SELECT id FROM objects WHERE id IN %s AND state = 'quarantined' AND reason = %s ORDER BY id",
        (sorted(ids) or [0], Reason.KILLED_CONSUMERS),
    )
    return [row["id"] for row in cursor.fetchall()]


def replay(
    cursor: LedgerCursor, job_id: int | None = None, ids: Sequence[int] | None = None, reason: str | None = None
) -> int:
    """Make quarantined objects pending again, at most a thousand per call; return their number. Done jobs run again.

    Those of cancelled jobs stay as they are: nobody would try them, and why they are in quarantine would be lost.
    """
    found = _quarantined(cursor, job_id, ids, reason, columns="id, job_id", limit=REPLAY_ROWS, locking=True)
    cancelled = jobs.cancelled(cursor, {row["job_id"] for row in found})
    if job_id in cancelled:
        raise LedgerError(f"job {job_id} is cancelled, and cancelled jobs don't go on: submit its source again")
    rows = [row for row in found if row["job_id"] not in cancelled]
    if rows:
        make_pending(cursor, [row["id"] for row in rows])
        _count(cursor, [row["job_id"] for row in rows], sign=-1)
        for found in sorted({row["job_id"] for row in rows}):
            jobs.reopen(cursor, found)
    return len(rows)


def make_pending(cursor: LedgerCursor, ids: Sequence[int]) -> None:
    """Reset quarantined objects, which the caller has locked and counts, to pending as if for the first time."""
    cursor.execute(
        f"UPDATE objects SET state = 'pending', {cursor.deaths_column} = 0, reason = NULL, detail = NULL, "
        "updated = CURRENT_TIMESTAMP(3) WHERE id IN %s",
        (ids,),
    )


def list_quarantined(
    cursor: LedgerCursor,
    job_id: int | None = None,
    *,
    limit: int = 100,
    after_id: int = 0,
    ids: Sequence[int] | None = None,
    reason: str | None = None,
) -> list[QuarantinedObject]:
    """Return a page of the quarantine, in order of id."""
    columns = f"id, job_id, reason, detail, size, {cursor.deaths_column} AS deaths, updated"
    rows = _quarantined(cursor, job_id, ids, reason, columns=columns, limit=limit, after_id=after_id)
    if not rows:
        return []
    # STRAIGHT_JOIN: with few jobs a server would begin with the jobs, and read every object of theirs.
    cursor.execute(
        "SELECT STRAIGHT_JOIN object_id, url FROM images WHERE object_id IN %s", ([row["id"] for row in rows],)
    )
    urls = {row["object_id"]: row["url"] for row in cursor.fetchall()}
    return [
        QuarantinedObject(
            row["id"],
            row["job_id"],
            urls.get(row["id"], ""),
            row["reason"] or "",
            row["detail"] or "",
            row["size"],
            row["deaths"],
            row["updated"],
        )
        for row in rows
    ]


def count_reasons(cursor: LedgerCursor, job_id: int) -> dict[str, int]:
    """Count a job's quarantine by reason; reads each of its quarantined rows."""
    cursor.execute(
        "SELECT reason, COUNT(*) AS n FROM objects FORCE INDEX (by_state) WHERE job_id = %s AND state = 'quarantined' "
        "GROUP BY reason ORDER BY n DESC, reason",
        (job_id,),
    )
    return {row["reason"]: row["n"] for row in cursor.fetchall()}


def _quarantined(
    cursor: LedgerCursor,
    job_id: int | None,
    ids: Sequence[int] | None,
    reason: str | None,
    *,
    columns: str,
    limit: int,
    after_id: int = 0,
    locking: bool = False,
) -> list[dict[str, Any]]:
    """Return the first quarantined rows after an id that match."""
    where, values = "state = 'quarantined' AND id > %s", list[object]([after_id])
    if reason is not None:
        where, values = f"{where} AND reason = %s", [*values, reason]
    if job_id is not None:
        where, values = f"{where} AND job_id = %s", [*values, job_id]
    lock = "FOR UPDATE" if locking else ""
    if ids is not None:
        index, where, values = "PRIMARY", f"{where} AND id IN %s", [*values, sorted(ids) or [0]]
    else:
        index = "by_state"
    statement = f"SELECT {columns} FROM objects FORCE INDEX ({index}) WHERE {where}"
    if job_id is not None or ids is not None:
        cursor.execute(f"{statement} ORDER BY id LIMIT %s {lock}", (*values, limit))
        return list(cursor.fetchall())
    # No index has all jobs' quarantine in id order, but there are few jobs, and each is a range of an index. Once there
    # are enough rows, only smaller ids matter: jobs that were listed one after the other have none.
    cursor.execute("SELECT id FROM jobs ORDER BY id")
    found: list[dict[str, Any]] = []
    for row in cursor.fetchall():
        below = found[-1]["id"] if len(found) == limit else MAX_ID
        statement_of_job = f"{statement} AND id < %s AND job_id = %s ORDER BY id LIMIT %s {lock}"
        cursor.execute(statement_of_job, (*values, below, row["id"], limit))
        found = sorted([*found, *cursor.fetchall()], key=lambda row: row["id"])[:limit]
        if locking and len(found) == limit:
            break
    return found


def _count(cursor: LedgerCursor, of_jobs: Sequence[int], *, sign: int) -> None:
    for job_id in sorted(set(of_jobs)):
        counters.add(cursor, job_id, quarantined=sign * of_jobs.count(job_id))
