"""The owner of a job, and so who may see and change it.

A job belongs to the person who submitted it on the gateway (`job_owners`). A job without an owner was made by command
line or SQL: everybody who may look at anything may see it, admins may change it. Pictures and uploads of people who
aren't signed in belong to nobody (user 0): only admins see them, since the senders can't be told apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sluice.ledger.connection import LedgerCursor
from sluice.ledger.jobs import COLUMNS, make_job, submit
from sluice.ledger.pictures import ANONYMOUS
from sluice.ledger.rows import Job

SELECT: Final = f"""
    SELECT {", ".join(f"j.{column}" for column in COLUMNS.split(", "))},
           w.user_id AS owner_id, u.name AS owner, s.user_id AS stands_for
    FROM jobs j LEFT JOIN job_owners w ON w.job_id = j.id
    LEFT JOIN standing_jobs s ON s.job_id = j.id LEFT JOIN users u ON u.id = w.user_id"""
VISIBLE: Final = "(%s OR (w.user_id = %s AND w.user_id > 0) OR (w.job_id IS NULL AND s.job_id IS NULL))"
"""`OwnedJob.is_visible` in SQL; its values are whether an admin asks, and the person's id."""


@dataclass(frozen=True, slots=True)
class OwnedJob:
    """A job and its owner."""

    job: Job
    owner_id: int | None
    """None: made by command line or SQL, unless it is a standing job."""
    owner: str
    """The owner's name, if that person exists."""
    standing: bool
    """Whether it is a standing job, for dropped pictures."""

    def is_visible(self, person_id: int, *, is_admin: bool) -> bool:
        """Return whether a person may see the job, its results and its quarantine."""
        is_shared = self.owner_id is None and not self.standing
        return is_admin or is_shared or (person_id != ANONYMOUS and person_id == self.owner_id)

    def may_change(self, person_id: int, *, is_admin: bool) -> bool:
        """Return whether a person may pause, resume, cancel or replay it."""
        return is_admin or (person_id != ANONYMOUS and person_id == self.owner_id)


def find(cursor: LedgerCursor, job_id: int, person_id: int, *, is_admin: bool) -> OwnedJob | None:
    """Return a job that a person may see; one that they may not see is treated as missing."""
    cursor.execute(f"{SELECT} WHERE j.id = %s AND {VISIBLE}", (job_id, is_admin, person_id))
    row = cursor.fetchone()
    return _owned(row) if row else None


def visible(
    cursor: LedgerCursor, person_id: int, *, is_admin: bool, before_id: int = 2**32, limit: int = 100
) -> list[OwnedJob]:
    """Return a page of the jobs that a person may see, the newest first."""
    cursor.execute(
        f"{SELECT} WHERE j.id < %s AND {VISIBLE} ORDER BY j.id DESC LIMIT %s",
        (before_id, is_admin, person_id, limit),
    )
    return [_owned(row) for row in cursor.fetchall()]


def lately(cursor: LedgerCursor, limit: int) -> list[OwnedJob]:
    """Return everybody's newest jobs and unfinished jobs, at most `limit` of each, the newest first.

    One query serves all viewers: `OwnedJob.is_visible` says what each of them may see.
    """
    cursor.execute(
        "(SELECT id FROM jobs ORDER BY id DESC LIMIT %s) UNION "
        "(SELECT id FROM jobs WHERE state IN ('pending', 'running', 'paused') ORDER BY id DESC LIMIT %s)",
        (limit, limit),
    )
    ids = [row["id"] for row in cursor.fetchall()]
    cursor.execute(f"{SELECT} WHERE j.id IN %s ORDER BY j.id DESC", (ids or [0],))
    return [_owned(row) for row in cursor.fetchall()]


def submit_for(
    cursor: LedgerCursor,
    person_id: int,
    source: str,
    model: str = "",
    *,
    priority: int = 0,
    watch: bool = False,
    watch_seconds: int = 60,
    shared: bool = True,
) -> int:
    """Insert a person's job and return its id.

    The job of somebody who isn't signed in has no owner, so everybody may see it. If it isn't to be `shared` (for
    example an upload), it belongs to nobody, so that only admins see it.
    """
    job_id = submit(cursor, source, model, priority=priority, watch=watch, watch_seconds=watch_seconds)
    if person_id != ANONYMOUS or not shared:
        cursor.execute("INSERT IGNORE INTO job_owners (job_id, user_id) VALUES (%s, %s)", (job_id, person_id))
    return job_id


def job_of_object(cursor: LedgerCursor, object_id: int, person_id: int, *, is_admin: bool) -> OwnedJob | None:
    """Return the job of an object if a person may see it; None also if there is no such object."""
    cursor.execute("SELECT job_id FROM objects WHERE id = %s", (object_id,))
    row = cursor.fetchone()
    return find(cursor, int(row["job_id"]), person_id, is_admin=is_admin) if row else None


def _owned(row: dict[str, object]) -> OwnedJob:
    owner_id, owner, stands_for = (row.pop(name) for name in ("owner_id", "owner", "stands_for"))
    return OwnedJob(
        make_job(row), None if owner_id is None else int(str(owner_id)), str(owner or ""), stands_for is not None
    )
