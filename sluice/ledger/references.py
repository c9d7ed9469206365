"""The table `drift_references`: what the windows of a model's version are compared with.

A version's labels and scores are its own, so its first whole window is the reference for them. The pictures' statistics
are those of the last whole window of the version that was live before: so a camera that went dark while the model was
exchanged is noticed at once. Without such a window they come from the first window, too.

A version that becomes live again keeps its reference.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sluice.drift import PICTURE, Statistic, WindowCounts
from sluice.errors import LedgerError
from sluice.ledger.connection import LedgerCursor

OF_THE_SQUARE = (Statistic.CONTRAST, Statistic.SHARPNESS)
"""Measured in the pixels that a model is given: comparable only for the same preprocessing."""


@dataclass(slots=True)
class DriftReference:
    """A row of `drift_references`."""

    model_id: int
    is_frozen: bool
    counts: WindowCounts


def lock(cursor: LedgerCursor, model_id: int, *, wait: bool = False) -> DriftReference | None:
    """Return a version's reference, a new one if there is none, and keep others from it; None: somebody else has it."""
    statement = f"SELECT * FROM drift_references WHERE model_id = %s FOR UPDATE{'' if wait else ' SKIP LOCKED'}"
    cursor.execute(statement, (model_id,))
    row = cursor.fetchone()
    if row is None:
        cursor.execute("SELECT 1 FROM drift_references WHERE model_id = %s", (model_id,))
        if cursor.fetchone() is not None and not wait:
            return None
        # If somebody else is faster, this transaction is retried and finds that row.
        cursor.execute("INSERT INTO drift_references (model_id, counts) VALUES (%s, '{}')", (model_id,))
        return DriftReference(model_id, is_frozen=False, counts=WindowCounts())
    return DriftReference(model_id, row["state"] == "frozen", WindowCounts.unpack(json.loads(row["counts"])))


def promoted(cursor: LedgerCursor, model_id: int, before: int | None) -> None:
    """Begin the reference of a version that becomes live for the first time, in the transaction that makes it so."""
    if not cursor.has_tallies:
        return
    lock(cursor, model_id, wait=True)
    cursor.execute("SELECT promoted FROM drift_references WHERE model_id = %s", (model_id,))
    if (cursor.fetchone() or {"promoted": None})["promoted"] is not None:
        return
    pictures = WindowCounts() if before is None else _pictures_of(cursor, model_id, before)
    _begin(cursor, model_id, pictures, before if pictures.buckets else None)
    cursor.execute("UPDATE drift_references SET promoted = CURRENT_TIMESTAMP(3) WHERE model_id = %s", (model_id,))


def reset(cursor: LedgerCursor, model_id: int) -> None:
    """Forget a version's reference: its next whole window becomes the new one, and is not judged."""
    cursor.execute("SELECT 1 FROM drift_references WHERE model_id = %s", (model_id,))
    if cursor.fetchone() is None:
        raise LedgerError("nothing was counted for this version yet, so there is no reference to freeze anew")
    lock(cursor, model_id, wait=True)
    _begin(cursor, model_id, WindowCounts(), None)


def freeze(cursor: LedgerCursor, reference: DriftReference, window_no: int) -> None:
    """Keep a reference's counts; what it has is never replaced."""
    cursor.execute(
        "UPDATE drift_references SET state = 'frozen', counts = %s, window_no = COALESCE(window_no, %s), "
        "frozen = COALESCE(frozen, CURRENT_TIMESTAMP(3)) WHERE model_id = %s",
        (json.dumps(reference.counts.pack()), window_no, reference.model_id),
    )
    reference.is_frozen = True


def _begin(cursor: LedgerCursor, model_id: int, pictures: WindowCounts, pictures_from: int | None) -> None:
    """Begin a reference with a new window; what was found by an earlier reference isn't told any more."""
    cursor.execute("DELETE FROM drift_windows WHERE model_id = %s AND state = 'open'", (model_id,))
    cursor.execute("SELECT COALESCE(MAX(window_no), 0) AS newest FROM drift_windows WHERE model_id = %s", (model_id,))
    newest = (cursor.fetchone() or {"newest": 0})["newest"]
    cursor.execute(
        "UPDATE drift_references SET state = 'collecting', counts = %s, pictures_from = %s, window_no = NULL, "
        "frozen = NULL, after_window = %s WHERE model_id = %s",
        (json.dumps(pictures.pack()), pictures_from, newest, model_id),
    )


def _pictures_of(cursor: LedgerCursor, model_id: int, before: int) -> WindowCounts:
    """Return the pictures' statistics of another version's last whole window, as far as both can be compared."""
    cursor.execute(
        "SELECT counts FROM drift_windows FORCE INDEX (PRIMARY) WHERE model_id = %s AND state <> 'open' "
        "ORDER BY window_no DESC LIMIT 1",
        (before,),
    )
    row = cursor.fetchone()
    if row is None:
        return WindowCounts()
    cursor.execute("SELECT id, preprocessing FROM models WHERE id IN %s", ([model_id, before],))
    prepared: dict[int, Any] = {each["id"]: json.loads(each["preprocessing"]) for each in cursor.fetchall()}
    same = prepared.get(model_id) == prepared.get(before)
    wanted = tuple(each for each in PICTURE if same or each not in OF_THE_SQUARE)
    return WindowCounts.unpack(json.loads(row["counts"])).only((*wanted, Statistic.UNDECODABLE))
