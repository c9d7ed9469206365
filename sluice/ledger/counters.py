"""A job's counts, spread over slots so that many consumers don't queue for one row."""

from __future__ import annotations

from sluice.ledger.connection import SLOTS, LedgerCursor


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


def recount(cursor: LedgerCursor, job_id: int) -> dict[str, int]:
    """Make a job's counts those of its rows, and return how many rows are in each state.

    Reads an index entry of each object. Commits wait meanwhile: they change rows first and counts last, so what isn't
    seen here is added afterwards.
    """
    cursor.executemany(
        "INSERT IGNORE INTO counters (job_id, slot) VALUES (%s, %s)", [(job_id, slot) for slot in range(SLOTS)]
    )
    cursor.execute("SELECT slot FROM counters WHERE job_id = %s ORDER BY slot FOR UPDATE", (job_id,))
    cursor.execute(
        "SELECT state, COUNT(*) AS n FROM objects FORCE INDEX (by_state) WHERE job_id = %s GROUP BY state", (job_id,)
    )
    found = {str(row["state"]): int(row["n"]) for row in cursor.fetchall()}
    cursor.execute(
        "UPDATE counters SET listed = 0, done = 0, quarantined = 0, superseded = 0 WHERE job_id = %s", (job_id,)
    )
    done, quarantined, superseded = (found.get(state, 0) for state in ("done", "quarantined", "superseded"))
    add(cursor, job_id, listed=sum(found.values()), done=done, quarantined=quarantined, superseded=superseded)
    return found
