"""Jobs that repeat the objects of an earlier one, without a listing: with another model, all of them or some.

Which objects is said by three columns of `jobs`: `again_of`, `again_below` and `again_label`. They are read by `*`: the
tables may be those of the release before, which have none of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sluice.domain import LABEL_MAX, ListedObject, Reason
from sluice.errors import ConfigurationError, LedgerError
from sluice.ledger import jobs, models
from sluice.ledger.columns import has_table
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.pictures import ANONYMOUS
from sluice.ledger.rows import Job

PAGE: Final = 1000
"""Objects of the earlier job that one page reads; with a label or a score fewer of them fit."""
STATES: Final = ("pending", "quarantined", "done")
"""In this order the earlier job's objects are met, since they may go on meanwhile: none is passed over. Only those that
are done have a label and a score."""
OF_LISTINGS: Final = frozenset(
    {
        Reason.UNLISTABLE,
        Reason.ARCHIVED,
        Reason.ARCHIVE_DAMAGED,
        Reason.ARCHIVE_TOO_LARGE,
        Reason.MEMBER_ENCRYPTED,
        Reason.MEMBER_COMPRESSION,
        Reason.MEMBER_NAME,
        Reason.NESTED_ARCHIVE,
    }
)
"""Reasons that a listing found: such an object can't be read by whichever model."""
NEWEST_ANSWERS: Final = """
    SELECT k.wanted, p.object_id, p.label, p.score, p.top FROM (
        SELECT k.wanted, (SELECT object_id FROM predictions FORCE INDEX (by_content)
                          WHERE sha256 = UNHEX(k.wanted) AND model_id = %s LIMIT 1) AS id
        FROM JSON_TABLE(%s, '$[*]' COLUMNS (wanted VARCHAR(64) PATH '$')) k
    ) k JOIN predictions p ON p.object_id = k.id"""
"""Makes the server look each content up separately, however often a model has met it."""
TRIED_ANSWERS: Final = """
    SELECT k.wanted, p.object_id, p.label, p.score, p.top FROM (
        SELECT k.wanted, (SELECT object_id FROM trial_predictions FORCE INDEX (by_content)
                          WHERE sha256 = UNHEX(k.wanted) AND model_id = %s AND failure = '' LIMIT 1) AS id
        FROM JSON_TABLE(%s, '$[*]' COLUMNS (wanted VARCHAR(64) PATH '$')) k
    ) k JOIN trial_predictions p ON p.object_id = k.id AND p.model_id = %s"""
"""The same of what it said in trials."""


@dataclass(frozen=True, slots=True)
class Repetition:
    """Whose objects a job repeats; None: whatever they were called, however sure it was."""

    of: int
    below: float | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """What a model has said of some bytes."""

    label: str
    score: float
    top: tuple[tuple[str, float], ...]
    sha256: bytes
    object_id: int
    """The object it was said of."""


@dataclass(frozen=True, slots=True)
class RepeatedPage:
    """Objects of the earlier job, and what the model has said already of the bytes of some of them."""

    objects: list[ListedObject]
    answers: dict[bytes, KnownAnswer]
    """By key."""
    place: bytes
    """Where the next page goes on."""
    last: bool


def submit(cursor: LedgerCursor, wish: Repetition, model: str = "", *, priority: int = 0) -> int:
    """Insert a job that repeats an earlier one's objects, and return its id."""
    earlier = jobs.get(cursor, wish.of)
    if earlier is None:
        raise LedgerError(f"there is no job {wish.of}: `sluice status` lists them")
    _check(cursor, earlier, wish)
    job_id = jobs.submit(cursor, earlier.source, model, priority=priority)
    cursor.execute(
        "UPDATE jobs SET again_of = %s, again_below = %s, again_label = %s WHERE id = %s",
        (wish.of, wish.below, wish.label, job_id),
    )
    return job_id


def submit_for(cursor: LedgerCursor, person_id: int, wish: Repetition, model: str = "", *, priority: int = 0) -> int:
    """Insert a person's job that repeats an earlier one's objects, and return its id."""
    job_id = submit(cursor, wish, model, priority=priority)
    if person_id != ANONYMOUS:
        cursor.execute("INSERT IGNORE INTO job_owners (job_id, user_id) VALUES (%s, %s)", (job_id, person_id))
    return job_id


def of_job(cursor: LedgerCursor, job_id: int) -> Repetition | None:
    """Return whose objects a job repeats; None: it lists its source."""
    cursor.execute("SELECT * FROM jobs WHERE id = %s", (job_id,))
    row = cursor.fetchone() or {}
    if row.get("again_of") is None:
        return None
    return Repetition(row["again_of"], row["again_below"], row["again_label"])


def read_page(cursor: LedgerCursor, wish: Repetition, model_id: int, place: bytes) -> RepeatedPage:
    """Return the next objects of the earlier job: at most a thousand are looked at."""
    if jobs.get(cursor, wish.of) is None:
        raise ConfigurationError(f"job {wish.of}, whose objects this job repeats, is gone: submit the source instead")
    state, after = _read_place(place)
    filtered, values = _conditions(wish)
    if state != "done" and filtered:
        state, after = "done", 0
    cursor.execute(
        "SELECT id FROM objects FORCE INDEX (by_state) WHERE job_id = %s AND state = %s AND id > %s "
        "ORDER BY id LIMIT %s",
        (wish.of, state, after, PAGE),
    )
    ids = [int(row["id"]) for row in cursor.fetchall()]
    rows: Sequence[dict[str, Any]] = ()
    if ids:
        cursor.execute(
            "SELECT o.object_key, o.etag, o.size, o.state, o.reason, o.detail, p.sha256 "
            "FROM objects o FORCE INDEX (PRIMARY) LEFT JOIN predictions p ON p.object_id = o.id "
            f"WHERE o.id IN %s AND o.state = %s AND o.repeat_no = 0{filtered} ORDER BY o.object_key",
            (ids, state, *values),
        )
        rows = cursor.fetchall()
    contents = {row["object_key"]: row["sha256"] for row in rows if row["sha256"] is not None}
    known = _known_answers(cursor, sorted(set(contents.values())), model_id)
    following = _place(state, ids[-1]) if len(ids) == PAGE else _next_state(state)
    return RepeatedPage(
        [_listed(row) for row in rows],
        {key: known[sha256] for key, sha256 in contents.items() if sha256 in known},
        following,
        last=not following,
    )


def _check(cursor: LedgerCursor, earlier: Job, wish: Repetition) -> None:
    """Refuse what could only be told of when the job has begun."""
    if earlier.state in ("pending", "running", "paused") and not earlier.watch:
        raise LedgerError(
            f"job {earlier.id} is {earlier.state}, so not all of its objects are known: wait for its end, or cancel it"
        )
    cursor.execute("SELECT * FROM jobs WHERE id = %s FOR UPDATE", (earlier.id,))
    if (cursor.fetchone() or {}).get("pruned") is not None:
        raise LedgerError(f"job {earlier.id} is being deleted by `sluice jobs prune`: submit its source instead")
    if wish.below is not None and not 0 < wish.below <= 1:
        raise ConfigurationError(f"no score is below {wish.below:g} only: give more than 0, and 1 at most")
    if wish.label is None or earlier.model_id is None:
        return
    if len(wish.label) > LABEL_MAX:
        raise ConfigurationError(f"a label has at most {LABEL_MAX} characters, this one has {len(wish.label)}")
    model = models.get(cursor, earlier.model_id)
    if model is not None and wish.label not in model.labels:
        raise ConfigurationError(
            f"{model.name}@{model.version}, which job {earlier.id} asked, knows no label {wish.label!r}: "
            f"`sluice models show {model.name}@{model.version}` lists those that it knows"
        )


def _conditions(wish: Repetition) -> tuple[str, tuple[object, ...]]:
    given = [("p.score < %s", wish.below), ("p.label = %s", wish.label)]
    wanted = [(condition, value) for condition, value in given if value is not None]
    return "".join(f" AND {condition}" for condition, _ in wanted), tuple(value for _, value in wanted)


def _known_answers(cursor: LedgerCursor, contents: Sequence[bytes], model_id: int) -> dict[bytes, KnownAnswer]:
    if not contents:
        return {}
    wanted = json.dumps([each.hex() for each in contents])
    cursor.execute(NEWEST_ANSWERS, (model_id, wanted))
    rows = list(cursor.fetchall())
    if has_table(cursor, "trial_predictions"):
        cursor.execute(TRIED_ANSWERS, (model_id, wanted, model_id))
        rows = [*cursor.fetchall(), *rows]
    return {
        (sha256 := bytes.fromhex(row["wanted"])): KnownAnswer(
            row["label"],
            row["score"],
            tuple((str(label), float(score)) for label, score in json.loads(row["top"])),
            sha256,
            row["object_id"],
        )
        for row in rows
    }


def _listed(row: dict[str, Any]) -> ListedObject:
    """Return an earlier job's object as a listing would name it."""
    reason = Reason.of_code(row["reason"] or "")
    if row["state"] == "quarantined" and reason in OF_LISTINGS:
        return ListedObject(
            row["object_key"], row["etag"], row["size"], refused=row["detail"] or reason.description, reason=reason
        )
    return ListedObject(row["object_key"], row["etag"], row["size"])


def _place(state: str, object_id: int) -> bytes:
    return f"{state}:{object_id}".encode()


def _read_place(place: bytes) -> tuple[str, int]:
    """Return state and id where a page begins; what is no place of this kind is the beginning.

    Earlier versions wrote a space, and met the states in another order.
    """
    state, _, number = place.decode(errors="replace").partition(":")
    return (state, int(number)) if state in STATES and number.isascii() and number.isdigit() else (STATES[0], 0)


def _next_state(state: str) -> bytes:
    later = STATES[STATES.index(state) + 1 :]
    return _place(later[0], 0) if later else b""
