"""The table `trial_predictions`: what candidates said, written in the transaction of their objects' own predictions.

Each object that is chosen for a running trial has one row: an answer, or why there is none. `trial_counts` are the
sums of all that was ever answered: rows go with their objects, sums stay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sluice.domain import LABEL_MAX
from sluice.ledger.columns import has_table
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.predictions import CONSUMER_MAX
from sluice.ledger.rows import Prediction, packed_top, shortened

FAILURE_MAX: Final = 200
SAID: Final = ("trial_id", "label", "score", "top", "sha256", "consumer", "live_label", "live_score", "failure")


@dataclass(frozen=True, slots=True)
class TrialPrediction:
    """What a candidate said of an object, beside the live version or instead of it."""

    trial_id: int
    said: Prediction
    """With the candidate's `model_id`; `label` is '' for a failure."""
    failure: str = ""
    live_label: str = ""
    """What the live version said; empty: it wasn't asked."""
    live_score: float = 0.0
    seconds: tuple[float, float] | None = None
    """How long the candidate took, and the live version (0: it wasn't asked); None: one of them knew it already."""

    @property
    def is_instead(self) -> bool:
        """Return whether this is the object's prediction."""
        return not self.failure and not self.live_label


def over(cursor: LedgerCursor, tried: Iterable[TrialPrediction]) -> set[int]:
    """Return which of the trials have ended."""
    wanted = sorted({each.trial_id for each in tried})
    if not wanted:
        return set()
    cursor.execute("SELECT id FROM trials WHERE id IN %s AND state = 'running'", (wanted,))
    return set(wanted) - {row["id"] for row in cursor.fetchall()}


def add(cursor: LedgerCursor, tried: Sequence[TrialPrediction]) -> None:
    """Insert what candidates said of objects that this transaction made done, and count it."""
    if not tried:
        return
    cursor.executemany(
        "INSERT INTO trial_predictions (object_id, model_id, trial_id, job_id, label, score, top, sha256, consumer, "
        "live_label, live_score, failure) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
        # One is there if somebody deleted the object's prediction and set it back, in SQL.
        f"ON DUPLICATE KEY UPDATE {', '.join(f'{name} = VALUES({name})' for name in SAID)}",
        [
            (
                each.said.object_id,
                each.said.model_id,
                each.trial_id,
                each.said.job_id,
                shortened(each.said.label, LABEL_MAX),
                each.said.score,
                packed_top(each.said.top),
                each.said.sha256,
                shortened(each.said.consumer, CONSUMER_MAX),
                shortened(each.live_label, LABEL_MAX),
                each.live_score,
                shortened(each.failure, FAILURE_MAX),
            )
            for each in tried
        ],
    )
    sums: defaultdict[tuple[int, str, str], list[float]] = defaultdict(lambda: [0, 0.0, 0.0, 0, 0.0, 0.0])
    for each in tried:
        found = sums[each.trial_id, shortened(each.live_label, LABEL_MAX), shortened(each.said.label, LABEL_MAX)]
        timed = (1, *each.seconds) if each.seconds else (0, 0.0, 0.0)
        for place, value in enumerate((1, each.said.score, each.live_score, *timed)):
            found[place] += value
    cursor.executemany(
        "INSERT INTO trial_counts (trial_id, live_label, label, slot, objects, score, live_score, timed, seconds, "
        "live_seconds) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON DUPLICATE KEY UPDATE "
        "objects = objects + VALUES(objects), score = score + VALUES(score), live_score = live_score + "
        "VALUES(live_score), timed = timed + VALUES(timed), seconds = seconds + VALUES(seconds), "
        "live_seconds = live_seconds + VALUES(live_seconds)",
        [(*pair, cursor.slot, *change) for pair, change in sorted(sums.items())],
    )


def forget(cursor: LedgerCursor, object_ids: Sequence[int]) -> None:
    """Delete what candidates said of objects whose predictions go."""
    if object_ids and has_table(cursor, "trial_predictions"):
        cursor.execute("DELETE FROM trial_predictions WHERE object_id IN %s", (object_ids,))
