"""The table `uploads`: archives that people uploaded, each with its job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sluice.ledger.connection import LedgerCursor
from sluice.ledger.owners import submit_for

COLUMNS: Final = "u.id, u.user_id, u.name, u.object_key, u.size, u.job_id, u.created, u.removed"


@dataclass(frozen=True, slots=True)
class NewUpload:
    """An archive that is completely in the bucket."""

    id: str
    user_id: int
    name: str
    bucket: str
    key: str
    size: int
    model: str
    priority: int

    @property
    def source(self) -> str:
        """Return the source whose objects are the archive's members."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class ArchiveUpload:
    """A row of `uploads`."""

    id: str
    user_id: int
    name: str
    object_key: bytes
    size: int
    job_id: int | None
    created: datetime
    removed: datetime | None
    """Since when the archive itself is no longer kept; its job and results are."""


@dataclass(frozen=True, slots=True)
class UploadState:
    """An upload with its job's counts; without a state its job was deleted."""

    upload: ArchiveUpload
    state: str
    listed: int
    done: int
    quarantined: int
    message: str


def create(
    cursor: LedgerCursor, new: NewUpload, beside: Callable[[LedgerCursor, ArchiveUpload], None] | None = None
) -> ArchiveUpload:
    """Insert a job for an archive, owned by its uploader; what is done `beside` it is in the same transaction."""
    if (found := get(cursor, new.id)) is not None:
        return found
    job_id = submit_for(cursor, new.user_id, new.source, new.model, priority=new.priority, shared=False)
    cursor.execute(
        "INSERT INTO uploads (id, user_id, name, object_key, size, job_id) VALUES (%s, %s, %s, %s, %s, %s)",
        (new.id, new.user_id, new.name, new.key.encode(), new.size, job_id),
    )
    made = get(cursor, new.id)
    assert made is not None, "the row stands in this transaction"  # noqa: S101 - for the type checker
    if beside is not None:
        beside(cursor, made)
    return made


def get(cursor: LedgerCursor, upload_id: str) -> ArchiveUpload | None:
    """Return one upload, whoever owns it."""
    cursor.execute(f"SELECT {COLUMNS} FROM uploads u WHERE u.id = %s", (upload_id,))
    row = cursor.fetchone()
    return ArchiveUpload(**row) if row else None


def newest(cursor: LedgerCursor, user_id: int, name: str) -> ArchiveUpload | None:
    """Return the last archive that a person uploaded under a name."""
    cursor.execute(
        f"SELECT {COLUMNS} FROM uploads u WHERE u.user_id = %s AND u.name = %s ORDER BY u.created DESC, u.id DESC "
        "LIMIT 1",
        (user_id, name),
    )
    row = cursor.fetchone()
    return ArchiveUpload(**row) if row else None


def of_person(cursor: LedgerCursor, user_id: int, before: str = "", limit: int = 50) -> list[UploadState]:
    """Return a page of a person's uploads, the newest first: those before the upload `before`."""
    cursor.execute(
        f"SELECT {COLUMNS}, j.state, j.message, COALESCE(SUM(c.listed), 0) AS listed, "
        "COALESCE(SUM(c.done), 0) AS done, COALESCE(SUM(c.quarantined), 0) AS quarantined FROM ("
        "SELECT * FROM uploads WHERE user_id = %s AND (%s = '' OR (created, id) < "
        "(SELECT b.created, b.id FROM uploads b WHERE b.id = %s AND b.user_id = %s)) "
        "ORDER BY created DESC, id DESC LIMIT %s) u "
        "LEFT JOIN jobs j ON j.id = u.job_id LEFT JOIN counters c ON c.job_id = u.job_id "
        "GROUP BY u.id ORDER BY u.created DESC, u.id DESC",
        (user_id, before, before, user_id, limit),
    )
    return [_state(row) for row in cursor.fetchall()]


def mark_removed(cursor: LedgerCursor, ids: Sequence[str], before: datetime) -> dict[str, bool]:
    """Note of uploads whose jobs ended before then that they are no longer kept.

    Return of each that has a row whether its bytes are still needed.
    """
    if not ids:
        return {}
    cursor.execute(
        "UPDATE uploads u LEFT JOIN jobs j ON j.id = u.job_id SET u.removed = CURRENT_TIMESTAMP(3) "
        "WHERE u.id IN %s AND u.removed IS NULL AND u.created < %s AND (j.id IS NULL "
        "OR (j.state IN ('done', 'failed', 'cancelled') AND COALESCE(j.finished, u.created) < %s))",
        (ids, before, before),
    )
    cursor.execute("SELECT id, removed IS NULL AS needed FROM uploads WHERE id IN %s", (ids,))
    return {str(row["id"]): bool(row["needed"]) for row in cursor.fetchall()}


def _state(row: dict[str, object]) -> UploadState:
    def number(name: str) -> int:
        return int(str(row[name]))

    names = ("id", "user_id", "name", "object_key", "size", "job_id", "created", "removed")
    return UploadState(
        upload=ArchiveUpload(**{name: row[name] for name in names}),  # type: ignore[arg-type]
        state=str(row["state"] or ""),
        listed=number("listed"),
        done=number("done"),
        quarantined=number("quarantined"),
        message=str(row["message"] or ""),
    )
