"""A job's quarantine in pages, also for one rare reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sluice.ledger.connection import LedgerCursor
from sluice.ledger.objects import list_quarantined
from sluice.ledger.rows import QuarantinedObject

WALKED: Final = 20_000
"""Objects that one page reads, at most."""


@dataclass(frozen=True, slots=True)
class QuarantinePage:
    """Some quarantined objects, and the id after which the next page continues; None: there is none."""

    rows: list[QuarantinedObject]
    next: int | None


def quarantine_page(
    cursor: LedgerCursor, job_id: int, reason: str | None = None, *, after_id: int = 0, limit: int = 100
) -> QuarantinePage:
    """Return a job's next quarantined objects, in id order. A page may be short or empty although others follow."""
    cursor.execute(
        "SELECT id, reason FROM objects FORCE INDEX (by_state) WHERE job_id = %s AND state = 'quarantined' "
        "AND id > %s ORDER BY id LIMIT %s",
        (job_id, after_id, limit + 1 if reason is None else WALKED),
    )
    walked = cursor.fetchall()
    fitting = [row["id"] for row in walked if reason is None or row["reason"] == reason]
    found = fitting[:limit]
    following: int | None = None
    if len(fitting) > limit:
        following = found[-1]
    elif reason is not None and len(walked) == WALKED:
        following = walked[-1]["id"]
    rows = list_quarantined(cursor, job_id, ids=found, limit=limit) if found else []
    return QuarantinePage(rows, following)


def frequent_reasons(cursor: LedgerCursor, job_id: int) -> dict[str, int]:
    """Count the reasons of a job's first quarantined objects, at most as many as a page reads."""
    cursor.execute(
        "SELECT reason, COUNT(*) AS n FROM (SELECT reason FROM objects FORCE INDEX (by_state) "
        "WHERE job_id = %s AND state = 'quarantined' ORDER BY id LIMIT %s) first GROUP BY reason "
        "ORDER BY n DESC, reason",
        (job_id, WALKED),
    )
    return {row["reason"] or "": row["n"] for row in cursor.fetchall()}
