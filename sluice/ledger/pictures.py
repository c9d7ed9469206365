"""Pictures that people drop on the gateway. Each becomes an object and a prediction of a standing job.

A standing job is done from the start: its objects are inserted with their predictions, so producers have nothing to do.
Everything that works for jobs (results, checks, exports, reports) works for it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sluice.domain import LABEL_MAX
from sluice.ledger import answers, counters
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.predictions import CONSUMER_MAX
from sluice.ledger.rows import shortened

NAME_MAX: Final = 255
ANONYMOUS: Final = 0
"""Stands for all people who aren't signed in."""

Top = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with its answer, to store."""

    user_id: int
    model_id: int
    source: str
    """The standing job's source: the prefix under which the person's pictures are stored."""
    key: bytes
    etag: str
    size: int
    sha256: bytes
    name: str
    top: Top
    gateway: str


@dataclass(frozen=True, slots=True)
class KnownPicture:
    """What is known about some bytes before they are processed."""

    top: Top | None
    """The answer, whoever requested it."""
    object_id: int | None
    """The person's own object with these bytes, if its picture is still stored."""


def recall(cursor: LedgerCursor, user_id: int, model_id: int, sha256: bytes, key: bytes, days: int) -> KnownPicture:
    """Return what is known about a picture's bytes: the model's answer, and the person's own object."""
    cursor.execute(
        "SELECT o.id FROM standing_jobs s JOIN objects o ON o.job_id = s.job_id AND o.repeat_no = 0 "
        "AND o.object_key = %s AND o.generation = 0 AND o.state = 'done' "
        "JOIN pictures p ON p.object_id = o.id AND p.removed IS NULL WHERE s.user_id = %s AND s.model_id = %s",
        (key, user_id, model_id),
    )
    row = cursor.fetchone()
    return KnownPicture(answers.find(cursor, sha256, model_id, days), int(row["id"]) if row else None)


def newest(cursor: LedgerCursor, user_id: int, name: str) -> int | None:
    """Return the object of the last picture that a person dropped under a name and that is still stored."""
    cursor.execute(
        "SELECT object_id FROM pictures FORCE INDEX (by_name) WHERE user_id = %s AND name = %s AND removed IS NULL "
        "ORDER BY created DESC, object_id DESC LIMIT 1",
        (user_id, name),
    )
    row = cursor.fetchone()
    return int(row["object_id"]) if row else None


def mark_removed(cursor: LedgerCursor, user_id: int, keys: Sequence[bytes]) -> None:
    """Note of a person's pictures that they are no longer kept; objects and predictions stay as they were."""
    cursor.execute(
        "SELECT o.id FROM standing_jobs s STRAIGHT_JOIN objects o FORCE INDEX (one_version) "
        "ON o.job_id = s.job_id AND o.repeat_no = 0 AND o.object_key IN %s WHERE s.user_id = %s",
        (keys, user_id),
    )
    ids = sorted(int(row["id"]) for row in cursor.fetchall())
    if ids:
        cursor.execute(
            "UPDATE pictures SET removed = CURRENT_TIMESTAMP(3) WHERE object_id IN %s AND removed IS NULL", (ids,)
        )


def record(cursor: LedgerCursor, pictures: Sequence[Picture]) -> list[int]:
    """Insert an object with its prediction for each picture, and store its answer; return the objects' ids.

    If the same person dropped a picture before, and it is stored under the same key, its object gets the new name and
    ETag.
    """
    jobs = {
        (user_id, model_id): _standing_job(cursor, user_id, model_id, source)
        for user_id, model_id, source in sorted({(each.user_id, each.model_id, each.source) for each in pictures})
    }
    ids: dict[int, int] = {}
    # In the same order on all replicas, so that two that store the same pictures can't deadlock.
    for number in sorted(range(len(pictures)), key=lambda place: (pictures[place].user_id, pictures[place].key)):
        picture = pictures[number]
        ids[number] = _record(cursor, jobs[picture.user_id, picture.model_id], picture)
    answers.keep(cursor, {(each.sha256, each.model_id): each.top for each in pictures})
    return [ids[number] for number in range(len(pictures))]


def _standing_job(cursor: LedgerCursor, user_id: int, model_id: int, source: str) -> int:
    """Return the id of a person's standing job for a model; insert it for the first picture."""
    cursor.execute("SELECT job_id FROM standing_jobs WHERE user_id = %s AND model_id = %s", (user_id, model_id))
    row = cursor.fetchone()
    if row is not None:
        return int(row["job_id"])
    cursor.execute(
        "INSERT INTO jobs (source, model, model_id, state, started, finished) "
        "SELECT %s, CONCAT(name, '@', version), id, 'done', CURRENT_TIMESTAMP(3), CURRENT_TIMESTAMP(3) "
        "FROM models WHERE id = %s",
        (source, model_id),
    )
    job_id = int(cursor.lastrowid)
    cursor.execute("INSERT INTO listings (job_id, repeat_no, passes, complete) VALUES (%s, 1, 1, TRUE)", (job_id,))
    # Another replica may have been faster. The key is unique, so this transaction is retried and finds that job.
    cursor.execute(
        "INSERT INTO standing_jobs (user_id, model_id, job_id) VALUES (%s, %s, %s)", (user_id, model_id, job_id)
    )
    if user_id != ANONYMOUS:
        cursor.execute("INSERT INTO job_owners (job_id, user_id) VALUES (%s, %s)", (job_id, user_id))
    return job_id


def _record(cursor: LedgerCursor, job_id: int, picture: Picture) -> int:
    cursor.execute(
        "SELECT id, etag FROM objects FORCE INDEX (one_version) WHERE job_id = %s AND repeat_no = 0 "
        "AND object_key = %s AND generation = 0 FOR UPDATE",
        (job_id, picture.key),
    )
    row = cursor.fetchone()
    if row is None:
        object_id = _insert(cursor, job_id, picture)
    else:
        object_id = int(row["id"])
        if row["etag"] != picture.etag:
            cursor.execute("UPDATE objects SET etag = %s WHERE id = %s", (picture.etag, object_id))
    cursor.execute(
        "INSERT INTO pictures (object_id, user_id, name) VALUES (%s, %s, %s) "
        "ON DUPLICATE KEY UPDATE name = VALUES(name), created = CURRENT_TIMESTAMP(3), removed = NULL",
        (object_id, picture.user_id, shortened(picture.name, NAME_MAX)),
    )
    return object_id


def _insert(cursor: LedgerCursor, job_id: int, picture: Picture) -> int:
    cursor.execute(
        "INSERT INTO objects (job_id, object_key, etag, size, state) VALUES (%s, %s, %s, %s, 'done')",
        (job_id, picture.key, picture.etag, picture.size),
    )
    object_id = int(cursor.lastrowid)
    label, score = picture.top[0]
    cursor.execute(
        "INSERT INTO predictions (object_id, job_id, model_id, label, score, top, sha256, consumer) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            object_id,
            job_id,
            picture.model_id,
            shortened(label, LABEL_MAX),
            score,
            json.dumps(picture.top),
            picture.sha256,
            shortened(picture.gateway, CONSUMER_MAX),
        ),
    )
    counters.add(cursor, job_id, listed=1, done=1)
    return object_id
