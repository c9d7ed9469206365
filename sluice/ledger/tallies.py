"""The table `tallies`: what one commit measured of its pictures, until it is counted.

A commit only inserts a row, so commits don't wait for each other, as they would for counts that they share. Whoever
counts them (`drifting.count`) deletes them in the same transaction: a picture is counted once, as it is committed once.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence

from sluice.domain import LABEL_MAX, Reason
from sluice.drift import MeasuredPrediction
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.rows import Prediction, QuarantineEntry, shortened

UNDECODABLE = frozenset({Reason.EMPTY, Reason.NOT_AN_IMAGE, Reason.TRUNCATED, Reason.CORRUPT, Reason.TOO_MANY_PIXELS})
"""Reasons that say something of the pictures, not of where they are kept."""


def add(cursor: LedgerCursor, rows: Mapping[int, Sequence[Prediction]]) -> None:
    """Leave what was measured of committed predictions, by job, in the transaction that commits them."""
    if not cursor.has_tallies:
        return
    by_model: dict[tuple[int, int], list[Prediction]] = defaultdict(list)
    for job_id, found in rows.items():
        for row in found:
            by_model[job_id, row.model_id].append(row)
    cursor.executemany(
        "INSERT INTO tallies (job_id, model_id, pictures) VALUES (%s, %s, %s)",
        [(*place, json.dumps([_packed(row) for row in found])) for place, found in sorted(by_model.items())],
    )


def add_undecodable(cursor: LedgerCursor, failures: Sequence[QuarantineEntry], job_of: Mapping[int, int]) -> None:
    """Leave how many pictures couldn't be read, in the transaction that quarantines them."""
    if not cursor.has_tallies:
        return
    counted: dict[int, int] = defaultdict(int)
    for failure in failures:
        counted[job_of[failure.object_id]] += Reason.of_code(failure.reason) in UNDECODABLE
    for job_id, count in sorted(counted.items()):
        if count:
            cursor.execute(
                "INSERT INTO tallies (job_id, model_id, pictures, undecodable) "
                "SELECT id, model_id, '[]', %s FROM jobs WHERE id = %s AND model_id IS NOT NULL",
                (count, job_id),
            )


def _packed(row: Prediction) -> list[object]:
    return MeasuredPrediction(row.object_id, shortened(row.label, LABEL_MAX), row.score, row.measures).pack()
