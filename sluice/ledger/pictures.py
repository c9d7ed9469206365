"""Pictures that people drop on the gateway. Each becomes an object and a prediction of a standing job.

A standing job is done from the start: its objects are inserted with their predictions, so producers have nothing to do.
Everything that works for jobs (results, checks, exports, reports) works for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sluice.domain import LABEL_MAX
from sluice.drift import PictureMeasures
from sluice.ledger import answers, counters, tallies
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.predictions import CONSUMER_MAX
from sluice.ledger.rows import Prediction, packed_top, shortened

NAME_MAX: Final = 255
ANONYMOUS: Final = 0
"""Stands for all people who aren't signed in."""

Top = tuple[tuple[str, float], ...]
Place = tuple[int, bytes]
"""A job and a key."""


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
    measures: PictureMeasures | None = None
    """None: its answer was known."""
    job_id: int | None = None
    """The standing job, if `recall` has found it: such jobs stay."""


@dataclass(frozen=True, slots=True)
class KnownPicture:
    """What is known about some bytes before they are processed."""

    top: Top | None
    """The answer, whoever requested it."""
    object_id: int | None
    """The person's own object with these bytes, if its picture is still stored."""
    job_id: int | None
    """The person's standing job for the model, if there is one."""


def recall(
    cursor: LedgerCursor, user_id: int, model_id: int, sha256: bytes, source: str, key: bytes, days: int
) -> KnownPicture:
    """Return what is known about a picture's bytes: the model's answer of some days, and the person's own object."""
    # In one statement, since somebody waits: each row is found by a unique key.
    cursor.execute(
        "SELECT j.id AS job_id, p.object_id, a.top FROM models m "
        "LEFT JOIN answers a ON a.sha256 = %s AND a.model_id = m.id "
        "AND a.created > CURRENT_TIMESTAMP(3) - INTERVAL %s DAY "
        "LEFT JOIN standing_jobs s ON s.user_id = %s AND s.model_id = m.id "
        "LEFT JOIN jobs j ON j.id = s.job_id AND j.source = %s "
        "LEFT JOIN objects o ON o.job_id = j.id "
        "AND o.repeat_no = 0 AND o.object_key = %s AND o.generation = 0 AND o.state = 'done' "
        "LEFT JOIN pictures p ON p.object_id = o.id AND p.removed IS NULL WHERE m.id = %s",
        (sha256, days, user_id, source, key, model_id),
    )
    row = cursor.fetchone() or {"job_id": None, "object_id": None, "top": None}
    top = answers.unpacked(row["top"]) if row["top"] is not None else None
    return KnownPicture(top, row["object_id"], row["job_id"])


def newest(cursor: LedgerCursor, user_id: int, name: str) -> int | None:
    """Return the object of the last picture that a person dropped under a name and that is still stored."""
    cursor.execute(
        "SELECT object_id FROM pictures FORCE INDEX (by_name) WHERE user_id = %s AND name = %s AND removed IS NULL "
        "ORDER BY created DESC, object_id DESC LIMIT 1",
        (user_id, name),
    )
    row = cursor.fetchone()
    return int(row["object_id"]) if row else None


def rename(cursor: LedgerCursor, object_id: int, name: str) -> bool:
    """Note that a picture was dropped again, under this name; return whether it is there and still stored."""
    # Later than before even within a millisecond: a row that stays as it is isn't counted.
    return bool(
        cursor.execute(
            "UPDATE pictures SET name = %s, "
            "created = GREATEST(CURRENT_TIMESTAMP(3), created + INTERVAL 1000 MICROSECOND) "
            "WHERE object_id = %s AND removed IS NULL",
            (shortened(name, NAME_MAX), object_id),
        )
    )


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
    jobs = {(each.user_id, each.model_id): each.job_id for each in pictures if each.job_id is not None}
    for user_id, model_id, source in sorted({(each.user_id, each.model_id, each.source) for each in pictures}):
        if (user_id, model_id) not in jobs:
            jobs[user_id, model_id] = _standing_job(cursor, user_id, model_id, source)
    placed = [((jobs[each.user_id, each.model_id], each.key), each) for each in pictures]
    # In the same order on all replicas, so that two that store the same pictures can't deadlock.
    by_place = dict(sorted(placed, key=lambda pair: pair[0]))
    inserted = cursor.executemany(
        "INSERT INTO objects (job_id, object_key, etag, size, state) VALUES (%s, %s, %s, %s, 'done') "
        "ON DUPLICATE KEY UPDATE etag = VALUES(etag)",
        [(job_id, key, picture.etag, picture.size) for (job_id, key), picture in by_place.items()],
    )
    ids: dict[Place, int] = {}
    predicted: dict[int, list[tuple[int, Picture]]] = {}
    for job_id in sorted(set(jobs.values())):
        keys = [key for job, key in by_place if job == job_id]
        if len(by_place) == 1 and inserted == 1:
            # Most often: one picture that wasn't there. Of more, or of one that was, the rows have to be looked at.
            found, new = {keys[0]: int(cursor.lastrowid)}, keys
        else:
            found, new = _find(cursor, job_id, keys)
        ids |= {(job_id, key): object_id for key, object_id in found.items()}
        predicted[job_id] = [(found[key], by_place[job_id, key]) for key in new]
    cursor.hold_back()
    for job_id, new_ones in predicted.items():
        _predict(cursor, job_id, new_ones)
    cursor.executemany(
        "INSERT INTO pictures (object_id, user_id, name) VALUES (%s, %s, %s) "
        "ON DUPLICATE KEY UPDATE name = VALUES(name), created = CURRENT_TIMESTAMP(3), removed = NULL",
        [(ids[place], picture.user_id, shortened(picture.name, NAME_MAX)) for place, picture in by_place.items()],
    )
    answers.keep(cursor, {(each.sha256, each.model_id): each.top for each in pictures})
    return [ids[place] for place, _ in placed]


def _standing_job(cursor: LedgerCursor, user_id: int, model_id: int, source: str) -> int:
    """Return the id of a person's standing job for a model; insert it for the first picture.

    Its source is where pictures are kept now: if that changes, the job before becomes an ordinary one that has ended.
    """
    cursor.execute(
        "SELECT s.job_id, j.source FROM standing_jobs s LEFT JOIN jobs j ON j.id = s.job_id "
        "WHERE s.user_id = %s AND s.model_id = %s",
        (user_id, model_id),
    )
    row = cursor.fetchone()
    if row is not None and row["source"] == source:
        return int(row["job_id"])
    if row is not None:  # kept elsewhere by now, or somebody deleted the job in SQL
        cursor.execute("UPDATE jobs SET finished = CURRENT_TIMESTAMP(3) WHERE id = %s", (row["job_id"],))
        if row["source"] is not None:
            # Strangers' too has an owner from now on, user 0: without one everybody might see it.
            cursor.execute("INSERT IGNORE INTO job_owners (job_id, user_id) VALUES (%s, %s)", (row["job_id"], user_id))
        cursor.execute("DELETE FROM standing_jobs WHERE job_id = %s", (row["job_id"],))
    job_id = _earlier(cursor, user_id, model_id, source) if row is not None else None
    if job_id is None:
        job_id = _insert_job(cursor, user_id, model_id, source)
    # Another replica may have been faster. The key is unique, so this transaction is retried and finds that job.
    cursor.execute(
        "INSERT INTO standing_jobs (user_id, model_id, job_id) VALUES (%s, %s, %s)", (user_id, model_id, job_id)
    )
    return job_id


def _earlier(cursor: LedgerCursor, user_id: int, model_id: int, source: str) -> int | None:
    """Return the standing job that a person had while pictures were kept there: for a while replicas may disagree.

    Only standing jobs have begun when they were made.
    """
    cursor.execute(
        "SELECT j.id FROM jobs j LEFT JOIN job_owners w ON w.job_id = j.id WHERE j.model_id = %s AND j.source = %s "
        "AND j.state = 'done' AND j.started = j.created AND COALESCE(w.user_id, %s) = %s ORDER BY j.id DESC LIMIT 1",
        (model_id, source, ANONYMOUS, user_id),
    )
    row = cursor.fetchone()
    return None if row is None else int(row["id"])


def _insert_job(cursor: LedgerCursor, user_id: int, model_id: int, source: str) -> int:
    """Insert a job that is done and listed from the start."""
    cursor.execute(
        "INSERT INTO jobs (source, model, model_id, state, started, finished) "
        "SELECT %s, CONCAT(name, '@', version), id, 'done', CURRENT_TIMESTAMP(3), CURRENT_TIMESTAMP(3) "
        "FROM models WHERE id = %s",
        (source, model_id),
    )
    job_id = int(cursor.lastrowid)
    cursor.execute("INSERT INTO listings (job_id, repeat_no, passes, complete) VALUES (%s, 1, 1, TRUE)", (job_id,))
    if user_id != ANONYMOUS:
        cursor.execute("INSERT INTO job_owners (job_id, user_id) VALUES (%s, %s)", (job_id, user_id))
    return job_id


def _find(cursor: LedgerCursor, job_id: int, keys: Sequence[bytes]) -> tuple[dict[bytes, int], list[bytes]]:
    """Return the objects of a job's keys, and the keys of those that have no prediction."""
    cursor.execute(
        "SELECT o.id, o.object_key, p.object_id AS predicted FROM objects o FORCE INDEX (one_version) "
        "LEFT JOIN predictions p ON p.object_id = o.id "
        "WHERE o.job_id = %s AND o.repeat_no = 0 AND o.object_key IN %s AND o.generation = 0",
        (job_id, keys),
    )
    rows = cursor.fetchall()
    found = {bytes(row["object_key"]): int(row["id"]) for row in rows}
    return found, [bytes(row["object_key"]) for row in rows if row["predicted"] is None]


def _predict(cursor: LedgerCursor, job_id: int, pictures: Sequence[tuple[int, Picture]]) -> None:
    """Insert the predictions of new objects, and count them."""
    cursor.executemany(
        "INSERT INTO predictions (object_id, job_id, model_id, label, score, top, sha256, consumer) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        [
            (
                object_id,
                job_id,
                picture.model_id,
                shortened(picture.top[0][0], LABEL_MAX),
                picture.top[0][1],
                packed_top(picture.top),
                picture.sha256,
                shortened(picture.gateway, CONSUMER_MAX),
            )
            for object_id, picture in pictures
        ],
    )
    committed = [
        Prediction(
            object_id, job_id, each.model_id, *each.top[0], each.top, each.sha256, each.gateway, measures=each.measures
        )
        for object_id, each in pictures
    ]
    tallies.add(cursor, {job_id: committed})
    counters.add(cursor, job_id, listed=len(pictures), done=len(pictures))
