"""How far trials are, for people: the view `trial_progress`, pairs of labels, and objects with such labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sluice.domain.gates import TrialEvidence
from sluice.ledger.browse import FoundResult, read_results
from sluice.ledger.connection import LedgerCursor

PAIRS: Final = 100


@dataclass(frozen=True, slots=True)
class TrialProgress:
    """A row of the view `trial_progress`; None: nothing is known of it yet, or its trial doesn't compare it."""

    answered: int = 0
    failed: int = 0
    agreement: float | None = None
    score_shift: float | None = None
    milliseconds: float | None = None
    live_milliseconds: float | None = None
    reports: int = 0
    accuracy: float | None = None
    live_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class TrialPair:
    """How often the live version said one label and the candidate another, with the means of their scores."""

    live_label: str
    label: str
    """'' where the candidate failed."""
    objects: int
    live_score: float
    score: float


def progress(cursor: LedgerCursor, trial_ids: Sequence[int]) -> dict[int, TrialProgress]:
    """Return how far trials are, by id."""
    if not trial_ids:
        return {}
    cursor.execute("SELECT * FROM trial_progress WHERE trial IN %s", (tuple(trial_ids),))
    return {
        row["trial"]: TrialProgress(
            int(row["answered"]),
            int(row["failed"]),
            _number(row["agreement"]),
            _number(row["score_shift"]),
            _number(row["milliseconds"]),
            _number(row["live_milliseconds"]),
            int(row["reports"]),
            _number(row["accuracy"]),
            _number(row["live_accuracy"]),
        )
        for row in cursor.fetchall()
    }


def counted(cursor: LedgerCursor, trial_ids: Sequence[int]) -> dict[int, TrialEvidence]:
    """Return what was counted in trials, by id, without reports: often asked for, so it reads only the sums."""
    if not trial_ids:
        return {}
    cursor.execute(
        "SELECT trial_id, SUM(IF(label = '', 0, objects)) AS answered, SUM(IF(label = '', objects, 0)) AS failed, "
        "SUM(IF(label <> '' AND label = live_label, objects, 0)) AS agreed "
        "FROM trial_counts WHERE trial_id IN %s GROUP BY trial_id",
        (tuple(trial_ids),),
    )
    return {
        row["trial_id"]: TrialEvidence(int(row["answered"]), int(row["failed"]), int(row["agreed"]))
        for row in cursor.fetchall()
    }


def pairs(cursor: LedgerCursor, trial_id: int, limit: int = PAIRS) -> list[TrialPair]:
    """Return the pairs of different labels, the most frequent first."""
    cursor.execute(
        "SELECT * FROM trial_pairs WHERE trial = %s AND live_label <> '' AND label <> live_label "
        "ORDER BY objects DESC, live_label, label LIMIT %s",
        (trial_id, limit),
    )
    return [
        TrialPair(row["live_label"], row["label"], int(row["objects"]), float(row["live_score"]), float(row["score"]))
        for row in cursor.fetchall()
    ]


def differing(cursor: LedgerCursor, trial_id: int, pair: TrialPair, limit: int) -> list[FoundResult]:
    """Return some objects of a pair, with what people see of each."""
    cursor.execute(
        "SELECT object_id FROM trial_predictions FORCE INDEX (by_pair) "
        "WHERE trial_id = %s AND live_label = %s AND label = %s ORDER BY object_id DESC LIMIT %s",
        (trial_id, pair.live_label, pair.label, limit),
    )
    return read_results(cursor, [row["object_id"] for row in cursor.fetchall()])


def _number(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]  # the server's decimal
