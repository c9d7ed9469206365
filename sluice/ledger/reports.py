"""The table `feedback`: people's reports on predictions, one per person and object; a second one replaces the first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sluice.domain import LABEL_MAX
from sluice.ledger.browse import read_results
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.rows import shortened

AUTHOR_MAX: Final = 64
COMMENT_MAX: Final = 1000
NAME_MAX: Final = 255
COLUMNS: Final = "id, object_id, label, comment, predicted, score, file_name, author, user_id, created"
COUNTED: Final = 100_000
"""The shares are computed from so many newest reports."""
LABELS: Final = 200


@dataclass(frozen=True, slots=True)
class Report:
    """A person's report on a prediction, with the prediction at that time."""

    id: int
    object_id: int
    label: str
    """The correct label, according to the person."""
    comment: str
    predicted: str
    score: float | None
    file_name: str
    author: str
    user_id: int | None
    created: datetime


@dataclass(frozen=True, slots=True)
class Remark:
    """Feedback without an object: on the service, or on a picture that the person describes."""

    user_id: int
    author: str
    comment: str
    predicted: str = ""
    score: float | None = None
    file_name: str = ""


@dataclass(frozen=True, slots=True)
class WrongShare:
    """How many of the reports on predictions of one label name another label."""

    label: str
    reports: int
    wrong: int

    @property
    def share(self) -> float:
        """Return the share of wrong predictions, from 0 to 1."""
        return self.wrong / self.reports


def report(
    cursor: LedgerCursor, object_id: int, user_id: int, author: str, label: str, comment: str = ""
) -> Report | None:
    """Store a person's report on an object's prediction; None if there is no prediction."""
    # The prediction's row is locked, so that two reports of one person can't overlap.
    cursor.execute("SELECT label, score FROM predictions WHERE object_id = %s FOR UPDATE", (object_id,))
    prediction = cursor.fetchone()
    found = read_results(cursor, [object_id])
    if prediction is None or not found:
        return None
    said = {
        "label": shortened(label, LABEL_MAX),
        "comment": shortened(comment, COMMENT_MAX),
        "predicted": prediction["label"],
        "score": prediction["score"],
        "file_name": shortened(found[0].name, NAME_MAX),
        "author": shortened(author, AUTHOR_MAX),
    }
    cursor.execute(
        "SELECT id FROM feedback FORCE INDEX (by_object) WHERE object_id = %s AND user_id = %s ORDER BY id LIMIT 1",
        (object_id, user_id),
    )
    row = cursor.fetchone()
    if row is not None:
        changes = ", ".join(f"{column} = %s" for column in said)
        cursor.execute(
            f"UPDATE feedback SET {changes}, created = CURRENT_TIMESTAMP(3) WHERE id = %s", (*said.values(), row["id"])
        )
        return _by_id(cursor, int(row["id"]))
    cursor.execute(
        f"INSERT INTO feedback (object_id, user_id, {', '.join(said)}) VALUES (%s, %s{', %s' * len(said)})",
        (object_id, user_id, *said.values()),
    )
    return _by_id(cursor, int(cursor.lastrowid))


def remark(cursor: LedgerCursor, said: Remark) -> Report:
    """Store a remark, and return it as a report whose object is 0."""
    found = _by_id(cursor, cursor.memory.get("remarked", 0))
    if found is None:
        cursor.execute(
            "INSERT INTO feedback (object_id, user_id, author, label, comment, predicted, score, file_name) "
            "VALUES (0, %s, %s, '', %s, %s, %s, %s)",
            (
                said.user_id,
                shortened(said.author, AUTHOR_MAX),
                shortened(said.comment, COMMENT_MAX),
                shortened(said.predicted, LABEL_MAX),
                said.score,
                shortened(said.file_name, NAME_MAX),
            ),
        )
        cursor.memory["remarked"] = cursor.lastrowid
        found = _by_id(cursor, int(cursor.lastrowid))
    assert found is not None, "the row stands in this transaction"  # noqa: S101 - for the type checker
    return found


def list_reports(
    cursor: LedgerCursor, user_id: int | None, *, before_id: int = 2**63, limit: int = 100
) -> list[Report]:
    """Return a page of a person's reports (None: everybody's), the newest first."""
    index, where, values = "PRIMARY", "", tuple[object, ...]()
    if user_id is not None:
        index, where, values = "by_user", " AND user_id = %s", (user_id,)
    cursor.execute(
        f"SELECT {COLUMNS} FROM feedback FORCE INDEX ({index}) WHERE id < %s{where} ORDER BY id DESC LIMIT %s",
        (before_id, *values, limit),
    )
    return [Report(**row) for row in cursor.fetchall()]


def wrong_shares(cursor: LedgerCursor) -> list[WrongShare]:
    """Return, by predicted label, how many of the reports name another label; most wrong ones first."""
    cursor.execute(
        "SELECT predicted, COUNT(*) AS reports, SUM(label <> predicted) AS wrong FROM "
        "(SELECT predicted, label FROM feedback WHERE predicted <> '' AND label <> '' "
        "ORDER BY id DESC LIMIT %s) newest GROUP BY predicted ORDER BY wrong DESC, predicted LIMIT %s",
        (COUNTED, LABELS),
    )
    return [WrongShare(row["predicted"], int(row["reports"]), int(row["wrong"])) for row in cursor.fetchall()]


def _by_id(cursor: LedgerCursor, report_id: int) -> Report | None:
    cursor.execute(f"SELECT {COLUMNS} FROM feedback WHERE id = %s", (report_id,))
    row = cursor.fetchone()
    return Report(**row) if row else None
