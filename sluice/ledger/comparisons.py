"""Two jobs compared by key: which predictions changed, are new or gone. Made in slices, then read in pages.

`advance` does one slice in a transaction of its own. Whoever wants the comparison calls it until it is complete,
several at once if they like: each takes a slice that nobody has, and what somebody had begun who was killed is taken by
the next. Only rows of the two jobs are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sluice.errors import ConfigurationError, LedgerError
from sluice.ledger import models
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.jobs import NUMBER_MAX
from sluice.ledger.rows import ENDED

SLICE: Final = 20_000
"""Keys of either job in a slice, at most: less than a second's work."""
PLANNED: Final = 8
"""Slices that are planned in one transaction: few, so that others soon find some."""
SWEPT: Final = 5_000
"""Rows of a comparison that nobody reads any more, deleted in one transaction."""
KEPT: Final = 100
"""Comparisons that are kept; the oldest makes room, since whoever looks may ask for any pair of jobs."""
KEPT_DAYS: Final = 30
"""After so long a comparison is made anew if somebody asks for it."""
FRESH_SECONDS: Final = 60
"""A comparison with a job that isn't at its end is made anew after so long, if something has changed."""
PAIRS_TRIED: Final = 100
NUMBER: Final = re.compile(r"[0-9]{1,100}")

# The keys of the first job with both predictions. Those are there if and only if the object is done (I6), so `objects`
# is read by its index alone. Of a key's versions only the newest counts: older ones are superseded, and have none.
OF_BEFORE: Final = """
    INSERT INTO differences (comparison_id, kind, size, before_id, after_id, before_label, after_label)
    SELECT %s, CASE WHEN q.object_id IS NULL THEN 'gone' WHEN p.object_id IS NULL THEN 'new' ELSE 'changed' END,
           (COALESCE(p.score, q.score) + COALESCE(q.score, p.score)) / 2,
           COALESCE(p.object_id, 0), COALESCE(q.object_id, 0), COALESCE(p.label, ''), COALESCE(q.label, '')
    FROM objects o FORCE INDEX (one_version)
    LEFT JOIN predictions p ON p.object_id = o.id
    LEFT JOIN (objects x FORCE INDEX (one_version) STRAIGHT_JOIN predictions q ON q.object_id = x.id)
        ON x.job_id = %s AND x.repeat_no = o.repeat_no AND x.object_key = o.object_key
    WHERE o.job_id = %s AND o.repeat_no = %s AND o.object_key > %s{high} AND NOT p.label <=> q.label
        AND (p.object_id IS NOT NULL OR NOT EXISTS (
            SELECT 1 FROM objects n FORCE INDEX (one_version) WHERE n.job_id = o.job_id AND n.repeat_no = o.repeat_no
            AND n.object_key = o.object_key AND n.generation > o.generation))"""
# The keys that only the second job has: for all others no prediction is looked at.
OF_AFTER: Final = """
    INSERT INTO differences (comparison_id, kind, size, before_id, after_id, before_label, after_label)
    SELECT %s, 'new', p.score, 0, o.id, '', p.label
    FROM objects o FORCE INDEX (one_version)
    LEFT JOIN objects x FORCE INDEX (one_version)
        ON x.job_id = %s AND x.repeat_no = o.repeat_no AND x.object_key = o.object_key
    STRAIGHT_JOIN predictions p ON p.object_id = o.id
    WHERE o.job_id = %s AND o.repeat_no = %s AND o.object_key > %s{high} AND x.id IS NULL"""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row of `comparisons`: how far it is, and what it is of."""

    id: int
    before: int
    after: int
    complete: bool
    share: float
    """How much of what is known to be there is compared, from 0 to 1."""


def job_pair(
    cursor: LedgerCursor, before: str, after: str, is_seen: Callable[[int], bool] = lambda _: True
) -> tuple[int, int]:
    """Return the two jobs that somebody means by two jobs' numbers or 'last', or by two versions of models.

    Of versions it is the newest jobs that asked them about the same source, among those that are seen.
    """
    numbers = [job for each in (before, after) if (job := _job_meant(cursor, each, is_seen)) is not None]
    if len(numbers) == 2:  # noqa: PLR2004 - a pair
        return numbers[0], numbers[1]
    if numbers:
        raise ConfigurationError(f"only one of {before!r} and {after!r} is a job: name two jobs, or two NAME@VERSION")
    ids = []
    for version in (before, after):
        name, _, number = version.partition("@")
        model = models.find(cursor, name, number)
        if model is None:
            raise ConfigurationError(
                f"{version!r} is no registered NAME@VERSION: name two jobs' numbers or two versions, as "
                "`sluice jobs list` and `sluice models list` show them"
            )
        ids.append(model.id)
    cursor.execute(
        "SELECT a.id AS before_job, b.id AS after_job FROM jobs b JOIN jobs a ON a.model_id = %s "
        "AND a.source = b.source AND a.id <> b.id WHERE b.model_id = %s AND a.pruned IS NULL AND b.pruned IS NULL "
        "ORDER BY b.id DESC, a.id DESC LIMIT %s",
        (*ids, PAIRS_TRIED),
    )
    for row in cursor.fetchall():
        if is_seen(row["before_job"]) and is_seen(row["after_job"]):
            return int(row["before_job"]), int(row["after_job"])
    raise LedgerError(
        f"no source was classified with both {before} and {after}: "
        f"`sluice submit --again JOB --model {after}` has the other one answer an earlier job's objects"
    )


def _job_meant(cursor: LedgerCursor, asked: str, is_seen: Callable[[int], bool]) -> int | None:
    """Return the job that is meant by a number or by 'last'; None if it is something else."""
    if asked == "last":
        cursor.execute("SELECT id FROM jobs WHERE pruned IS NULL ORDER BY id DESC LIMIT %s", (PAIRS_TRIED,))
        seen = next((int(row["id"]) for row in cursor.fetchall() if is_seen(int(row["id"]))), None)
        if seen is None:
            raise LedgerError("there is no job yet: `sluice submit SOURCE` makes one")
        return seen
    if not NUMBER.fullmatch(asked):
        return None
    if int(asked) > NUMBER_MAX:
        raise LedgerError(f"there is no job {asked}: `sluice jobs list` shows what there is")
    return int(asked)


def check_pair(cursor: LedgerCursor, before: int, after: int) -> None:
    """Refuse two jobs that have no keys to compare."""
    if before == after:
        raise ConfigurationError(f"job {before} is to be compared with itself: name two jobs")
    places = []
    for job_id in (before, after):
        cursor.execute("SELECT * FROM jobs WHERE id = %s", (job_id,))
        row = cursor.fetchone()
        if row is None or row.get("pruned") is not None:
            raise LedgerError(f"there is no job {job_id}: `sluice jobs list` shows what there is")
        places.append(_place(str(row["source"])))
    if places[0] != places[1]:
        raise ConfigurationError(
            f"job {before} is of {places[0]} and job {after} of {places[1]}: objects are compared by their keys, which "
            "mean other pictures there; compare jobs of one bucket or folder"
        )


def _place(source: str) -> str:
    """Return what keys are relative to: the bucket, or the folder as it is named."""
    return "/".join(source.split("/")[:3]) if source.startswith("s3://") else source.rstrip("/")


def begin(cursor: LedgerCursor, before: int, after: int, *, kept: int = KEPT) -> int:
    """Return the comparison of two jobs; a new one if there is none, or if the jobs have changed since it was made."""
    marks, done, ended = _marks(cursor, before, after)
    cursor.execute(
        "SELECT id, marks, complete, TIMESTAMPDIFF(SECOND, created, CURRENT_TIMESTAMP(3)) AS age FROM comparisons "
        "WHERE before_job = %s AND after_job = %s AND live = 1 FOR UPDATE",
        (before, after),
    )
    row = cursor.fetchone()
    if row is not None:
        outdated = row["marks"] != marks and row["complete"] and (ended or not 0 <= row["age"] < FRESH_SECONDS)
        if not outdated:
            return int(row["id"])
        cursor.execute("UPDATE comparisons SET live = NULL WHERE id = %s", (row["id"],))
    # Two at once: the key is unique, so the second is retried and finds this one.
    cursor.execute(
        "INSERT INTO comparisons (before_job, after_job, live, marks, before_done) VALUES (%s, %s, 1, %s, %s)",
        (before, after, marks, done),
    )
    made = int(cursor.lastrowid)
    cursor.execute("SELECT id FROM comparisons WHERE live = 1 ORDER BY id DESC LIMIT 1 OFFSET %s", (kept,))
    if (oldest := cursor.fetchone()) is not None:
        cursor.execute("UPDATE comparisons SET live = NULL WHERE live = 1 AND id <= %s", (oldest["id"],))
    return made


def find(cursor: LedgerCursor, comparison_id: int) -> Comparison | None:
    """Return a comparison that is read; None if there is none, or the jobs were compared anew."""
    cursor.execute("SELECT * FROM comparisons WHERE id = %s AND live = 1", (comparison_id,))
    row = cursor.fetchone()
    if row is None:
        return None
    cursor.execute(
        "SELECT COUNT(*) AS slices, COALESCE(SUM(done), 0) AS done FROM comparison_slices WHERE comparison_id = %s",
        (comparison_id,),
    )
    counted = cursor.fetchone() or {"slices": 0, "done": 0}
    share = 1.0 if row["complete"] else float(counted["done"]) / max(1, int(counted["slices"]) + 1)
    return Comparison(row["id"], row["before_job"], row["after_job"], bool(row["complete"]), share)


def advance(cursor: LedgerCursor, comparison_id: int) -> bool:
    """Do the next part of a comparison; return whether there may be more to do for this caller."""
    cursor.execute(
        "SELECT number, repeat_no, low, high FROM comparison_slices FORCE INDEX (by_done) "
        "WHERE comparison_id = %s AND done = FALSE ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED",
        (comparison_id,),
    )
    piece = cursor.fetchone()
    cursor.execute(
        "SELECT before_job, after_job, repeat_no, key_cursor, planned, complete FROM comparisons "
        f"WHERE id = %s{'' if piece else ' FOR UPDATE'}",
        (comparison_id,),
    )
    row = cursor.fetchone()
    if row is None or row["complete"]:
        return False
    if piece is not None:
        _compare(cursor, comparison_id, row, piece)
        return True
    if not row["planned"]:
        _plan(cursor, comparison_id, row)
        return True
    cursor.execute(
        "SELECT 1 FROM comparison_slices WHERE comparison_id = %s AND done = FALSE LIMIT 1", (comparison_id,)
    )
    if cursor.fetchone() is not None:
        return False  # others are at the last slices
    _finish(cursor, comparison_id)
    return False


def sweep(cursor: LedgerCursor) -> bool:
    """Delete some rows of comparisons that nobody reads any more; return whether there may be more."""
    cursor.execute(
        "SELECT c.id FROM comparisons c LEFT JOIN jobs a ON a.id = c.before_job LEFT JOIN jobs b ON b.id = c.after_job "
        "WHERE c.live IS NULL OR a.id IS NULL OR b.id IS NULL OR c.created < CURRENT_TIMESTAMP(3) - INTERVAL %s DAY "
        "ORDER BY c.id LIMIT 1",
        (KEPT_DAYS,),
    )
    row = cursor.fetchone()
    if row is None:
        return False
    comparison_id = int(row["id"])
    cursor.execute("SELECT id FROM comparisons WHERE id = %s FOR UPDATE SKIP LOCKED", (comparison_id,))
    if cursor.fetchone() is None:
        return False  # somebody else is at it
    # From here on nobody reads it, or works on it.
    cursor.execute(
        "UPDATE comparisons SET live = NULL, planned = TRUE, complete = TRUE WHERE id = %s", (comparison_id,)
    )
    for table in ("differences", "comparison_pairs", "comparison_slices"):
        if cursor.execute(f"DELETE FROM {table} WHERE comparison_id = %s LIMIT %s", (comparison_id, SWEPT)):
            return True
    cursor.execute("DELETE FROM comparisons WHERE id = %s", (comparison_id,))
    return True


def _marks(cursor: LedgerCursor, before: int, after: int) -> tuple[str, int, bool]:
    """Return what tells two states of the jobs apart, the first one's predictions, and whether both jobs are ended."""
    cursor.execute(
        "SELECT j.id, j.state, COALESCE(SUM(c.listed), 0) AS listed, COALESCE(SUM(c.done), 0) AS done, "
        "COALESCE(SUM(c.quarantined), 0) AS quarantined, COALESCE(SUM(c.superseded), 0) AS superseded "
        "FROM jobs j LEFT JOIN counters c ON c.job_id = j.id WHERE j.id IN %s GROUP BY j.id, j.state ORDER BY j.id",
        ([before, after],),
    )
    rows = {row["id"]: row for row in cursor.fetchall()}
    counts = [
        ".".join(str(int(rows[job][name])) for name in ("listed", "done", "quarantined", "superseded"))
        for job in (before, after)
        if job in rows
    ]
    done = int(rows[before]["done"]) if before in rows else 0
    return " ".join(counts), max(0, done), all(row["state"] in ENDED for row in rows.values())


def _plan(cursor: LedgerCursor, comparison_id: int, row: dict[str, Any]) -> None:
    """Cut the next keys into slices, each with a bounded number of keys of either job."""
    cursor.execute(
        "SELECT COALESCE(MAX(number) + 1, 0) AS number FROM comparison_slices WHERE comparison_id = %s",
        (comparison_id,),
    )
    first = int((cursor.fetchone() or {"number": 0})["number"])
    repeat_no, low, planned = int(row["repeat_no"]), row["key_cursor"], False
    slices: list[tuple[int, int, int, bytes, bytes | None]] = []
    while len(slices) < PLANNED and not planned:
        ends = [end for job in (row["before_job"], row["after_job"]) if (end := _end(cursor, job, repeat_no, low))]
        high = min(ends) if ends else None
        slices.append((comparison_id, first + len(slices), repeat_no, low, high))
        if high is not None:
            low = high
            continue
        low = b""
        following = [_next_repeat(cursor, row[job], repeat_no) for job in ("before_job", "after_job")]
        repeat_no = min((each for each in following if each is not None), default=-1)
        planned = repeat_no < 0
    cursor.executemany(
        "INSERT INTO comparison_slices (comparison_id, number, repeat_no, low, high) VALUES (%s, %s, %s, %s, %s)",
        slices,
    )
    cursor.execute(
        "UPDATE comparisons SET repeat_no = %s, key_cursor = %s, planned = %s WHERE id = %s",
        (max(0, repeat_no), low, planned, comparison_id),
    )


def _end(cursor: LedgerCursor, job_id: int, repeat_no: int, low: bytes) -> bytes | None:
    """Return the last key of a job's next slice; None if it has fewer keys left."""
    cursor.execute(
        "SELECT object_key FROM objects FORCE INDEX (one_version) WHERE job_id = %s AND repeat_no = %s "
        "AND object_key > %s ORDER BY object_key LIMIT 1 OFFSET %s",
        (job_id, repeat_no, low, SLICE - 1),
    )
    row = cursor.fetchone()
    return bytes(row["object_key"]) if row else None


def _next_repeat(cursor: LedgerCursor, job_id: int, repeat_no: int) -> int | None:
    cursor.execute(
        "SELECT repeat_no FROM objects FORCE INDEX (one_version) WHERE job_id = %s AND repeat_no > %s "
        "ORDER BY repeat_no LIMIT 1",
        (job_id, repeat_no),
    )
    row = cursor.fetchone()
    return int(row["repeat_no"]) if row else None


def _compare(cursor: LedgerCursor, comparison_id: int, row: dict[str, Any], piece: dict[str, Any]) -> None:
    before, after = row["before_job"], row["after_job"]
    bound = "" if piece["high"] is None else " AND o.object_key <= %s"
    keys = (piece["repeat_no"], piece["low"], *(() if piece["high"] is None else (piece["high"],)))
    cursor.execute(OF_BEFORE.format(high=bound), (comparison_id, after, before, *keys))
    cursor.execute(OF_AFTER.format(high=bound), (comparison_id, before, after, *keys))
    cursor.execute(
        "UPDATE comparison_slices SET done = TRUE WHERE comparison_id = %s AND number = %s",
        (comparison_id, piece["number"]),
    )


def _finish(cursor: LedgerCursor, comparison_id: int) -> None:
    """Count the pairs of labels, and let the comparison be read."""
    cursor.execute(
        "INSERT INTO comparison_pairs (comparison_id, kind, before_label, after_label, objects) "
        "SELECT comparison_id, kind, before_label, after_label, COUNT(*) FROM differences FORCE INDEX (by_pair) "
        "WHERE comparison_id = %s GROUP BY comparison_id, kind, before_label, after_label",
        (comparison_id,),
    )
    cursor.execute("UPDATE comparisons SET complete = TRUE WHERE id = %s", (comparison_id,))
