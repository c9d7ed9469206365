"""Progress of jobs, from counters, never by counting rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sluice.ledger.connection import LedgerCursor
from sluice.ledger.rows import JobProgress

COUNTS: Final = ("listed", "done", "quarantined", "superseded")


def progress(cursor: LedgerCursor, job_id: int) -> JobProgress | None:
    """Return one job's progress."""
    return of_jobs(cursor, [job_id]).get(job_id)


def of_jobs(cursor: LedgerCursor, ids: Sequence[int]) -> dict[int, JobProgress]:
    """Return the progress of some jobs, by job.

    The same as the view's, but faster: a server computes the view's counts for all jobs before it filters.
    """
    if not ids:
        return {}
    cursor.execute(
        "SELECT job_id, SUM(listed) AS listed, SUM(done) AS done, SUM(quarantined) AS quarantined, "
        "SUM(superseded) AS superseded FROM counters WHERE job_id IN %s GROUP BY job_id",
        (ids,),
    )
    counts = {row["job_id"]: {name: int(row[name]) for name in COUNTS} for row in cursor.fetchall()}
    cursor.execute(
        "SELECT j.id, j.source, j.state, j.message, COALESCE(l.complete, FALSE) AS complete, "
        "IF(j.state = 'running' AND j.rate_at > CURRENT_TIMESTAMP(3) - INTERVAL 15 SECOND, j.rate, 0) AS rate "
        "FROM jobs j LEFT JOIN listings l ON l.job_id = j.id WHERE j.id IN %s",
        (ids,),
    )
    found: dict[int, JobProgress] = {}
    for row in cursor.fetchall():
        counted = counts.get(row["id"], dict.fromkeys(COUNTS, 0))
        pending = counted["listed"] - counted["done"] - counted["quarantined"] - counted["superseded"]
        found[row["id"]] = JobProgress(
            job=row["id"],
            source=row["source"],
            state=row["state"],
            pending=pending,
            listing_complete=bool(row["complete"]),
            images_per_second=row["rate"],
            eta_seconds=pending / row["rate"] if row["rate"] > 0 else None,
            message=row["message"],
            **counted,
        )
    return found


def all_progress(cursor: LedgerCursor) -> list[JobProgress]:
    """Return every job's progress, the newest last."""
    cursor.execute("SELECT * FROM job_progress ORDER BY job")
    return [_progress(row) for row in cursor.fetchall()]


def backlog(cursor: LedgerCursor) -> int:
    """Return the number of pending objects of running jobs, including leased ones."""
    cursor.execute("SELECT COALESCE(SUM(pending), 0) AS pending FROM job_progress WHERE state = 'running'")
    row = cursor.fetchone()
    return int(row["pending"]) if row else 0


def _progress(row: dict[str, object]) -> JobProgress:
    def number(name: str) -> int:
        return int(str(row[name]))

    eta = row["eta_seconds"]
    return JobProgress(
        job=number("job"),
        source=str(row["source"]),
        state=str(row["state"]),
        listed=number("listed"),
        pending=number("pending"),
        done=number("done"),
        quarantined=number("quarantined"),
        superseded=number("superseded"),
        listing_complete=bool(number("listing_complete")),
        images_per_second=float(str(row["images_per_second"])),
        eta_seconds=None if eta is None else float(str(eta)),
        message=str(row["message"]),
    )
