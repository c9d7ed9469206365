"""A job's counts, spread over slots so that many consumers don't queue for one row."""

from __future__ import annotations

from sluice.ledger.connection import LedgerCursor


def add(
    cursor: LedgerCursor, job_id: int, *, listed: int = 0, done: int = 0, quarantined: int = 0, superseded: int = 0
) -> None:
    """Change a job's counts, in the transaction that changes its objects and after those."""
    change = (listed, done, quarantined, superseded)
    if not any(change):
        return
    cursor.execute(
        "INSERT INTO counters (job_id, slot, listed, done, quarantined, superseded) VALUES (%s, %s, %s, %s, %s, %s) "
        "ON DUPLICATE KEY UPDATE listed = listed + %s, done = done + %s, quarantined = quarantined + %s, "
        "superseded = superseded + %s",
        (job_id, cursor.slot, *change, *change),
    )
