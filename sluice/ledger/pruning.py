"""Retention: deletes jobs that ended long ago, with their objects and predictions, some thousand rows a transaction.

A job is first marked in `jobs.pruned`, under its row's lock: from then on it is cancelled and nothing makes it run
again. Its rows then go slice by slice, each with its counts, so all that always holds does so in between; the job's own
row goes last. Whoever is killed meanwhile leaves a marked job, which the next prune goes on with.

Rows of jobs that somebody deleted from `jobs` by hand go too, whatever is asked for. A job's row is always there before
the first of its objects, so nothing of a job that begins just now is taken for that.

Reports of people stay: they say themselves what was predicted. Standing jobs, which hold dropped pictures, are no
business of this as long as their row is there: the gateway keeps and removes those.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sluice.errors import TablesMissing
from sluice.ledger import counters, jobs, trial_predictions
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.rows import ENDED

SLICE: Final = 2_000
"""Objects that are deleted in one transaction."""
QUIET_SECONDS: Final = 60
"""For so long after a job's end producers may still write what they had in hand."""
CANDIDATES: Final = 500
"""Jobs that are found at once."""
DAY_SECONDS: Final = 86_400
MESSAGE: Final = "being deleted by `sluice jobs prune`"


@dataclass(frozen=True, slots=True)
class PruneWish:
    """Which jobs go: those that ended more than so many days ago, and those beyond the newest `keep` that ended.

    With both, a job goes only if both say so.
    """

    days: float | None = None
    keep: int | None = None


@dataclass(frozen=True, slots=True)
class PrunableJob:
    """A job that would go, and what goes with it."""

    id: int
    source: str
    model: str
    state: str
    ended: datetime | None
    objects: int
    live: bool
    """Whether its model's version is live, so that `current` shows its predictions."""
    begun: bool
    """Whether an earlier prune was cut off at it."""
    orphaned: bool = False
    """Whether its own row is gone; then only its number and its objects are known."""


def prunable(cursor: LedgerCursor, wish: PruneWish, after_id: int = 0) -> list[PrunableJob]:
    """Return the next jobs that go, in order of id; those that an earlier prune began are among them."""
    cursor.execute("SELECT * FROM jobs LIMIT 1")
    row = cursor.fetchone()
    if row is not None and "pruned" not in row:
        raise TablesMissing("the tables are those of an older version: run `sluice db upgrade`, then prune")
    seconds = max(QUIET_SECONDS, round((wish.days or 0) * DAY_SECONDS))
    where, values = " AND j.finished <= CURRENT_TIMESTAMP(3) - INTERVAL %s SECOND", tuple[object, ...]((seconds,))
    if wish.keep is not None:
        where += (
            " AND j.id NOT IN (SELECT id FROM (SELECT k.id FROM jobs k LEFT JOIN standing_jobs t ON t.job_id = k.id "
            "WHERE k.state IN %s AND k.finished IS NOT NULL AND t.job_id IS NULL AND k.pruned IS NULL "
            "ORDER BY k.finished DESC, k.id DESC LIMIT %s) kept)"
        )
        values = (*values, ENDED, wish.keep)
    cursor.execute(
        "SELECT j.id, j.source, j.state, j.finished, j.pruned, CONCAT(m.name, '@', m.version) AS model, m.live, "
        "(SELECT COALESCE(SUM(c.listed), 0) FROM counters c WHERE c.job_id = j.id) AS objects "
        "FROM jobs j LEFT JOIN models m ON m.id = j.model_id LEFT JOIN standing_jobs s ON s.job_id = j.id "
        "WHERE j.id > %s AND s.job_id IS NULL AND (j.pruned IS NOT NULL OR (j.state IN %s AND j.finished IS NOT NULL"
        f"{where} AND NOT EXISTS (SELECT 1 FROM jobs r WHERE r.again_of = j.id AND r.state NOT IN %s))) "
        "ORDER BY j.id LIMIT %s",
        (after_id, ENDED, *values, ENDED, CANDIDATES),
    )
    return [
        PrunableJob(
            row["id"],
            row["source"],
            row["model"] or "",
            row["state"],
            row["finished"],
            max(0, int(row["objects"])),
            bool(row["live"]),
            row["pruned"] is not None,
        )
        for row in cursor.fetchall()
    ]


def orphaned(cursor: LedgerCursor) -> list[PrunableJob]:
    """Return the jobs whose row was deleted by hand, but not what belongs to it: standing jobs, too."""
    cursor.execute(
        "SELECT job_id FROM counters UNION SELECT job_id FROM listings UNION SELECT job_id FROM standing_jobs"
    )
    numbers = {int(row["job_id"]) for row in cursor.fetchall()}
    number: int | None = -1
    while number is not None:  # the server finds each next number in the index, without the rows in between
        cursor.execute("SELECT MIN(job_id) AS following FROM objects WHERE job_id > %s", (number,))
        number = (cursor.fetchone() or {}).get("following")
        numbers |= set() if number is None else {int(number)}
    if not numbers:
        return []
    # Asked after the numbers, so that a job that begins in between is found here.
    cursor.execute("SELECT id FROM jobs")
    gone = sorted(numbers - {int(row["id"]) for row in cursor.fetchall()})
    if not gone:
        return []
    cursor.execute(
        "SELECT job_id, COUNT(*) AS objects FROM objects FORCE INDEX (one_version) WHERE job_id IN %s GROUP BY job_id",
        (gone,),
    )
    objects = {row["job_id"]: int(row["objects"]) for row in cursor.fetchall()}
    return [
        PrunableJob(job, "", "", "", None, objects.get(job, 0), live=False, begun=False, orphaned=True) for job in gone
    ]


def begin(cursor: LedgerCursor, job_id: int) -> bool:
    """Mark a job as going; return whether it is: one that runs again, or that a running job repeats, isn't."""
    state = jobs.lock(cursor, job_id, wait=False)
    if state not in ENDED:
        return False
    cursor.execute("SELECT id FROM jobs WHERE again_of = %s AND state NOT IN %s LIMIT 1", (job_id, ENDED))
    if cursor.fetchone() is not None:
        return False
    cursor.execute(
        "UPDATE jobs SET state = 'cancelled', message = %s, pruned = COALESCE(pruned, CURRENT_TIMESTAMP(3)) "
        "WHERE id = %s",
        (MESSAGE, job_id),
    )
    return True


def prune(cursor: LedgerCursor, job_id: int) -> tuple[int, bool]:
    """Delete some objects of a marked job, or at last the job; return how many, and whether there may be more.

    Of a job whose row is gone, what is left is deleted in the same way.
    """
    cursor.execute(
        "SELECT 1 FROM jobs WHERE id = %s AND pruned IS NULL UNION "
        "SELECT 1 FROM jobs j JOIN standing_jobs s ON s.job_id = j.id WHERE j.id = %s",
        (job_id, job_id),
    )
    if cursor.fetchone() is not None:
        return 0, False
    cursor.execute(
        "SELECT id, state FROM objects FORCE INDEX (one_version) WHERE job_id = %s LIMIT %s FOR UPDATE SKIP LOCKED",
        (job_id, SLICE),
    )
    states = {row["id"]: row["state"] for row in cursor.fetchall()}
    if states:
        ids = sorted(states)
        cursor.execute("DELETE FROM predictions WHERE object_id IN %s", (ids,))
        trial_predictions.forget(cursor, ids)
        cursor.execute("DELETE FROM pictures WHERE object_id IN %s", (ids,))
        cursor.execute("DELETE FROM objects WHERE id IN %s", (ids,))
        gone = Counter(states.values())
        counters.add(
            cursor,
            job_id,
            listed=-len(ids),
            done=-gone["done"],
            quarantined=-gone["quarantined"],
            superseded=-gone["superseded"],
        )
        return len(ids), True
    cursor.execute("SELECT 1 FROM objects FORCE INDEX (one_version) WHERE job_id = %s LIMIT 1", (job_id,))
    if cursor.fetchone() is not None:
        return 0, True  # others have the last ones locked
    for table in ("counters", "listings", "job_owners", "standing_jobs"):
        cursor.execute(f"DELETE FROM {table} WHERE job_id = %s", (job_id,))
    cursor.execute("DELETE FROM jobs WHERE id = %s", (job_id,))
    return 0, False
