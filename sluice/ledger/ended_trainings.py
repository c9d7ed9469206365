"""Which trainings have ended, and when: what they left in the model store goes some time after that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sluice.ledger.connection import LedgerCursor

SLICE: Final = 1000


def ended_since(cursor: LedgerCursor, training_ids: Sequence[int]) -> dict[int, tuple[str, float | None]]:
    """Return the states of trainings, and for how many days they have ended; those that aren't there are left out."""
    found: dict[int, tuple[str, float | None]] = {}
    for start in range(0, len(training_ids), SLICE):
        part = training_ids[start : start + SLICE]
        cursor.execute(
            "SELECT id, state, TIMESTAMPDIFF(SECOND, finished, CURRENT_TIMESTAMP(3)) / 86400 AS days FROM trainings "
            f"WHERE id IN ({', '.join(['%s'] * len(part))})",
            part,
        )
        found |= {
            row["id"]: (row["state"], None if row["days"] is None else float(row["days"])) for row in cursor.fetchall()
        }
    return found
