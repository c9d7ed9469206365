"""The table `jobs`: the control plane that people write and producers follow."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from sluice.domain import INSIDE, check_source, is_inside
from sluice.errors import ConfigurationError, LedgerError
from sluice.ledger import counters
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.rows import Job, shortened

COLUMNS: Final = (
    "id, source, model, model_id, state, priority, watch, watch_seconds, repeats, message, created, started, finished"
)
MESSAGE_MAX: Final = 1000
NUMBER_MAX: Final = 2**32 - 1
"""Maximum of a job's repeats and watch_seconds."""
MODEL: Final = re.compile(r"[A-Za-z0-9._-]{1,64}(@[A-Za-z0-9._-]{1,32})?")

ALLOWED: Final[dict[str, tuple[str, ...]]] = {
    "paused": ("pending", "running"),
    "running": ("pending", "paused"),
    "cancelled": ("pending", "running", "paused"),
}
"""States that a person may set -> the states from which it is possible."""


def submit(
    cursor: LedgerCursor,
    source: str,
    model: str = "",
    *,
    priority: int = 0,
    watch: bool = False,
    watch_seconds: int = 60,
    repeats: int = 1,
) -> int:
    """Insert a job and return its id."""
    source = check_source(source)
    if model and not MODEL.fullmatch(model):
        raise ConfigurationError(f"{model!r} is no model: give 'name' or 'name@version' as `sluice models list` shows")
    if not 1 <= repeats <= NUMBER_MAX:
        raise ConfigurationError(f"a job can't be repeated {repeats} times: give 1 to {NUMBER_MAX}")
    if not 0 <= watch_seconds <= NUMBER_MAX:
        raise ConfigurationError(
            f"a job can't be listed every {watch_seconds} seconds: give 1 to {NUMBER_MAX}, or 0 for all the time"
        )
    # An earlier try may have been committed although its answer was lost; a submission must create only one job.
    cursor.execute("SELECT id FROM jobs WHERE id = %s AND source = %s", (cursor.memory.get("submitted", 0), source))
    if (row := cursor.fetchone()) is not None:
        return int(row["id"])
    cursor.execute(
        "INSERT INTO jobs (source, model, priority, watch, watch_seconds, repeats) VALUES (%s, %s, %s, %s, %s, %s)",
        (source, model, priority, watch, watch_seconds, repeats),
    )
    cursor.memory["submitted"] = cursor.lastrowid
    return int(cursor.lastrowid)


def get(cursor: LedgerCursor, job_id: int) -> Job | None:
    """Return one job."""
    cursor.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = %s", (job_id,))
    row = cursor.fetchone()
    return make_job(row) if row else None


def last(cursor: LedgerCursor) -> Job | None:
    """Return the job that was submitted last."""
    cursor.execute(f"SELECT {COLUMNS} FROM jobs ORDER BY id DESC LIMIT 1")
    row = cursor.fetchone()
    return make_job(row) if row else None


def list_jobs(cursor: LedgerCursor) -> list[Job]:
    """Return all jobs, the newest last."""
    cursor.execute(f"SELECT {COLUMNS} FROM jobs ORDER BY id")
    return [make_job(row) for row in cursor.fetchall()]


def active(cursor: LedgerCursor) -> list[Job]:
    """Return the jobs that a producer works on, the most urgent first."""
    cursor.execute(f"SELECT {COLUMNS} FROM jobs WHERE state IN ('pending', 'running') ORDER BY priority DESC, id")
    return [make_job(row) for row in cursor.fetchall()]


def start(cursor: LedgerCursor, job_id: int, model_id: int) -> bool:
    """Set a job that hasn't begun to running, with its model; return whether this began it."""
    return bool(
        cursor.execute(
            "UPDATE jobs SET state = 'running', model_id = COALESCE(model_id, %s), message = '', "
            "started = COALESCE(started, CURRENT_TIMESTAMP(3)) "
            "WHERE id = %s AND (state = 'pending' OR (state = 'running' AND model_id IS NULL))",
            (model_id, job_id),
        )
    )


def finish(cursor: LedgerCursor, job_id: int) -> bool:
    """Set a running job to done if it is listed and has nothing pending; return whether it did.

    The job's row is locked first, as in `reopen`, so that the end of a job can't overlap with an object becoming
    pending again (a replay, a change that another shard found).
    """
    if lock(cursor, job_id, wait=False) != "running":
        return False
    cursor.execute(
        "SELECT EXISTS (SELECT 1 FROM listings WHERE job_id = %s AND complete) AS listed, "
        "EXISTS (SELECT 1 FROM objects WHERE job_id = %s AND state = 'pending') AS pending, "
        "EXISTS (SELECT 1 FROM objects WHERE job_id = %s) AS found",
        (job_id, job_id, job_id),
    )
    row = cursor.fetchone()
    if row is None or not row["listed"] or row["pending"]:
        return False
    cursor.execute(
        "UPDATE jobs SET state = 'done', finished = CURRENT_TIMESTAMP(3), message = %s WHERE id = %s",
        ("" if row["found"] else _why_empty(cursor, job_id), job_id),
    )
    return True


def _why_empty(cursor: LedgerCursor, job_id: int) -> str:
    """Return a sentence about a job that met no objects."""
    cursor.execute("SELECT * FROM jobs WHERE id = %s", (job_id,))  # of an older version: without again_of
    row = cursor.fetchone() or {}
    if row.get("again_of") is not None:
        return f"job {row['again_of']} has no objects that it could repeat"
    source = str(row["source"])
    if is_inside(source):
        return "no archive with members is there" if source.endswith(INSIDE) else "the archive has no members"
    spaces = "" if source == source.strip() else "; it begins or ends with white space"
    return f"nothing is under this prefix: prefixes are taken literally, '*' isn't a wildcard{spaces}"


def cancelled(cursor: LedgerCursor, ids: Collection[int]) -> set[int]:
    """Return which of the jobs are cancelled."""
    if not ids:
        return set()
    cursor.execute("SELECT id FROM jobs WHERE id IN %s AND state = 'cancelled'", (sorted(ids),))
    return {int(row["id"]) for row in cursor.fetchall()}


def lock(cursor: LedgerCursor, job_id: int, *, wait: bool = True) -> str | None:
    """Lock a job's row until the transaction ends and return its state; None if it is gone, or others hold the lock."""
    cursor.execute(f"SELECT state FROM jobs WHERE id = %s FOR UPDATE {'' if wait else 'SKIP LOCKED'}", (job_id,))
    row = cursor.fetchone()
    return str(row["state"]) if row else None


def reopen(cursor: LedgerCursor, job_id: int) -> bool:
    """Set a done job back to running, because some object is pending again; return whether it was done."""
    if lock(cursor, job_id) != "done":
        return False
    cursor.execute("UPDATE jobs SET state = 'running', finished = NULL WHERE id = %s", (job_id,))
    return True


def repair(cursor: LedgerCursor, job_id: int) -> bool:
    """Count a job's rows anew, after somebody changed them in SQL; return whether it was done and runs again."""
    return bool(counters.recount(cursor, job_id).get("pending")) and reopen(cursor, job_id)


def fail(cursor: LedgerCursor, job_id: int, message: str) -> None:
    """Fail a job with a message."""
    cursor.execute(
        "UPDATE jobs SET state = 'failed', message = %s, finished = CURRENT_TIMESTAMP(3) "
        "WHERE id = %s AND state IN ('pending', 'running')",
        (shortened(message, MESSAGE_MAX), job_id),
    )


def set_message(cursor: LedgerCursor, job_id: int, message: str) -> None:
    """Set what a job waits for; an empty message means nothing. A job that is failed or done keeps its message."""
    cursor.execute(
        "UPDATE jobs SET message = %s WHERE id = %s AND state NOT IN ('failed', 'done')",
        (shortened(message, MESSAGE_MAX), job_id),
    )


def change_state(cursor: LedgerCursor, job_id: int, to: str) -> Job:
    """Pause, resume ('running') or cancel a job, or raise an error that says why that isn't possible."""
    lock(cursor, job_id)
    job = get(cursor, job_id)
    if job is None:
        raise LedgerError(f"there is no job {job_id}: `sluice status` lists them")
    allowed = ALLOWED[to]
    if job.state == to:
        return job
    if job.state not in allowed:
        raise LedgerError(f"job {job_id} is {job.state}: only a job that is {' or '.join(allowed)} can be made {to}")
    # One that never ran is pending again; a second try, after a lost answer, finds it so.
    state = "pending" if to == "running" and (job.model_id is None or job.state == "pending") else to
    cursor.execute(
        "UPDATE jobs SET state = %s, finished = IF(%s = 'cancelled', CURRENT_TIMESTAMP(3), NULL) WHERE id = %s",
        (state, state, job_id),
    )
    changed = get(cursor, job_id)
    assert changed is not None, "the row is locked by this transaction"  # noqa: S101 - for the type checker
    return changed


def retry(cursor: LedgerCursor, job_id: int) -> Job:
    """Resume a failed job where it was, or raise an error that says why not. Repeating it is harmless."""
    lock(cursor, job_id)
    job = get(cursor, job_id)
    if job is None:
        raise LedgerError(f"there is no job {job_id}: `sluice status` lists them")
    if job.state in ("pending", "running"):
        return job
    if job.state != "failed":
        raise LedgerError(f"job {job_id} is {job.state}: only a failed job can be retried")
    # As in plain SQL: a running job without a model is started like a new one; its listing keeps its position.
    cursor.execute("UPDATE jobs SET state = 'running', message = '', finished = NULL WHERE id = %s", (job_id,))
    changed = get(cursor, job_id)
    assert changed is not None, "the row is locked by this transaction"  # noqa: S101 - for the type checker
    return changed


def set_priority(cursor: LedgerCursor, job_id: int, priority: int) -> None:
    """Set a job's priority; higher is more urgent."""
    if get(cursor, job_id) is None:
        raise LedgerError(f"there is no job {job_id}: `sluice status` lists them")
    cursor.execute("UPDATE jobs SET priority = %s WHERE id = %s", (priority, job_id))


def record_rate(cursor: LedgerCursor, job_id: int, rate: float) -> None:
    """Store a job's current rate in images per second."""
    cursor.execute("UPDATE jobs SET rate = %s, rate_at = CURRENT_TIMESTAMP(3) WHERE id = %s", (rate, job_id))


def make_job(row: dict[str, object]) -> Job:
    """Return a row with COLUMNS as a Job."""
    return Job(**{**row, "watch": bool(row["watch"])})  # type: ignore[arg-type]
