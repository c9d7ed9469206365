"""How far jobs are, from counters: never from counting rows."""

from __future__ import annotations

from sluice.ledger.connection import LedgerCursor
from sluice.ledger.rows import JobProgress


def progress(cursor: LedgerCursor, job_id: int) -> JobProgress | None:
    """Return one job's progress."""
    cursor.execute("SELECT * FROM job_progress WHERE job = %s", (job_id,))
    row = cursor.fetchone()
    return _progress(row) if row else None


def all_progress(cursor: LedgerCursor) -> list[JobProgress]:
    """Return every job's progress, the newest last."""
    cursor.execute("SELECT * FROM job_progress ORDER BY job")
    return [_progress(row) for row in cursor.fetchall()]


def backlog(cursor: LedgerCursor) -> int:
    """Count what running jobs have pending, leased objects included."""
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
