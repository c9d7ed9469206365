"""Jobs for people: with their owner and progress."""

from __future__ import annotations

from dataclasses import dataclass

from sluice.ledger import owners, progress
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.owners import OwnedJob
from sluice.ledger.rows import JobProgress


@dataclass(frozen=True, slots=True)
class SeenJob:
    """A job with its owner and progress."""

    owned: OwnedJob
    progress: JobProgress


def one(cursor: LedgerCursor, job_id: int, person_id: int, *, is_admin: bool) -> SeenJob | None:
    """Return a job that a person may see; one that they may not see is treated as missing."""
    owned = owners.find(cursor, job_id, person_id, is_admin=is_admin)
    return next(iter(_with_progress(cursor, [owned])), None) if owned else None


def page(cursor: LedgerCursor, person_id: int, *, is_admin: bool, before_id: int, limit: int) -> list[SeenJob]:
    """Return the next of the jobs that a person may see, the newest first."""
    return _with_progress(
        cursor, owners.visible(cursor, person_id, is_admin=is_admin, before_id=before_id, limit=limit)
    )


def lately(cursor: LedgerCursor, limit: int) -> list[SeenJob]:
    """Return everybody's newest and unfinished jobs; `OwnedJob.is_visible` says who may see them."""
    return _with_progress(cursor, owners.lately(cursor, limit))


def _with_progress(cursor: LedgerCursor, found: list[OwnedJob]) -> list[SeenJob]:
    known = progress.of_jobs(cursor, [owned.job.id for owned in found])
    return [SeenJob(owned, known[owned.job.id]) for owned in found if owned.job.id in known]
