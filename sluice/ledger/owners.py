"""Whose a job is, and so who may see it and who may change it.

A job belongs to who submitted it on the gateway (`job_owners`). One without an owner was made by command line or SQL:
whoever may look at anything may see it, admins may change it. What people drop or upload who aren't signed in is
nobody's (user 0): admins alone see it here, since nobody else can be told from those who sent it.
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
"""`OwnedJob.is_visible` in SQL; its values are whether an admin asks, and who."""


@dataclass(frozen=True, slots=True)
class OwnedJob:
    """A job and whose it is."""

    job: Job
    owner_id: int | None
    """None: it was made by command line or SQL, unless it stands for dropped pictures."""
    owner: str
    """The owner's name, where there is such a person."""
    standing: bool
    """Its objects are pictures that somebody dropped."""

    def is_visible(self, person_id: int, *, is_admin: bool) -> bool:
        """Return whether a person may see the job, its results and its quarantine."""
        is_shared = self.owner_id is None and not self.standing
        return is_admin or is_shared or (person_id != ANONYMOUS and person_id == self.owner_id)

    def may_change(self, person_id: int, *, is_admin: bool) -> bool:
        """Return whether a person may pause, resume, cancel or replay it."""
        return is_admin or (person_id != ANONYMOUS and person_id == self.owner_id)


def find(cursor: LedgerCursor, job_id: int, person_id: int, *, is_admin: bool) -> OwnedJob | None:
    """Return a job that a person may see; one that isn't theirs is as if it weren't there."""
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
    """Return everybody's newest jobs and those that have not ended, so many of each at most, the newest first.

    For one query that serves all who look: `OwnedJob.is_visible` says what each of them may see.
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

    One by somebody who isn't signed in has no owner, so all may see it; where it is not to be `shared` (what somebody
    uploaded, say), it is nobody's, so that only admins see it.
    """
    job_id = submit(cursor, source, model, priority=priority, watch=watch, watch_seconds=watch_seconds)
    if person_id != ANONYMOUS or not shared:
        cursor.execute("INSERT IGNORE INTO job_owners (job_id, user_id) VALUES (%s, %s)", (job_id, person_id))
    return job_id


def job_of_object(cursor: LedgerCursor, object_id: int, person_id: int, *, is_admin: bool) -> OwnedJob | None:
    """Return the job of an object that a person may see; None as well where there is no such object."""
    cursor.execute("SELECT job_id FROM objects WHERE id = %s", (object_id,))
    row = cursor.fetchone()
    return find(cursor, int(row["job_id"]), person_id, is_admin=is_admin) if row else None


def _owned(row: dict[str, object]) -> OwnedJob:
    owner_id, owner, stands_for = (row.pop(name) for name in ("owner_id", "owner", "stands_for"))
    return OwnedJob(
        make_job(row), None if owner_id is None else int(str(owner_id)), str(owner or ""), stands_for is not None
    )
