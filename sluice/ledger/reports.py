"""The table `feedback`: what people say of predictions, one report a person and object; a second replaces the first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sluice.ledger.browse import read_results
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.predictions import LABEL_MAX
from sluice.ledger.rows import shortened

AUTHOR_MAX: Final = 64
COMMENT_MAX: Final = 1000
NAME_MAX: Final = 255
COLUMNS: Final = "id, object_id, label, comment, predicted, score, file_name, author, user_id, created"
COUNTED: Final = 100_000
"""The shares are those of so many reports, the newest ones."""
LABELS: Final = 200


@dataclass(frozen=True, slots=True)
class Report:
    """What somebody says of a prediction, and what the prediction was then."""

    id: int
    object_id: int
    label: str
    """What it is, says the person."""
    comment: str
    predicted: str
    score: float | None
    file_name: str
    author: str
    user_id: int | None
    created: datetime


@dataclass(frozen=True, slots=True)
class Remark:
    """What somebody says without naming an object, of the service or of a picture that they describe themselves."""

    user_id: int
    author: str
    comment: str
    predicted: str = ""
    score: float | None = None
    file_name: str = ""


@dataclass(frozen=True, slots=True)
class WrongShare:
    """Of the reports on predictions of one label, how many say another one."""

    label: str
    reports: int
    wrong: int

    @property
    def share(self) -> float:
        """Return the part that was wrong, from 0 to 1."""
        return self.wrong / self.reports


def report(
    cursor: LedgerCursor, object_id: int, user_id: int, author: str, label: str, comment: str = ""
) -> Report | None:
    """Keep what a person says of an object's prediction; None where there is no prediction (any more)."""
    # The prediction's row is locked, so that two reports of one person come one after the other.
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
    """Keep a remark, and return it as a report whose object is 0."""
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
    """Return a page of a person's reports (None: of everybody's), the newest first."""
    index, where, values = "PRIMARY", "", tuple[object, ...]()
    if user_id is not None:
        index, where, values = "by_user", " AND user_id = %s", (user_id,)
    cursor.execute(
        f"SELECT {COLUMNS} FROM feedback FORCE INDEX ({index}) WHERE id < %s{where} ORDER BY id DESC LIMIT %s",
        (before_id, *values, limit),
    )
    return [Report(**row) for row in cursor.fetchall()]


def wrong_shares(cursor: LedgerCursor) -> list[WrongShare]:
    """Return by predicted label how many of the reports say another; those with most wrong ones first."""
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
