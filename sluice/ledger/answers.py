"""The table `answers`: models' answers by the bytes' digest, so that a repeated picture needs no inference.

`pictures.recall` looks them up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from sluice.ledger.connection import LedgerCursor
from sluice.ledger.rows import packed_top

TRIM_ROWS: Final = 5000
"""Rows deleted in one transaction, few enough that nobody waits long."""


def unpacked(top: str) -> tuple[tuple[str, float], ...]:
    """Return an answer as it was given."""
    return tuple((str(label), float(score)) for label, score in json.loads(top))


def keep(cursor: LedgerCursor, found: Mapping[tuple[bytes, int], tuple[tuple[str, float], ...]]) -> None:
    """Store answers by (content, model); storing one again renews its age."""
    cursor.executemany(
        "INSERT INTO answers (sha256, model_id, top) VALUES (%s, %s, %s) "
        "ON DUPLICATE KEY UPDATE top = VALUES(top), created = CURRENT_TIMESTAMP(3)",
        [(sha256, model_id, packed_top(top)) for (sha256, model_id), top in sorted(found.items())],
    )


def trim(cursor: LedgerCursor, most: int, days: int) -> int:
    """Delete answers that are too old, and the oldest beyond `most`, some thousand per call; return their number."""
    gone = cursor.execute(
        "DELETE FROM answers WHERE created <= CURRENT_TIMESTAMP(3) - INTERVAL %s DAY ORDER BY created LIMIT %s",
        (days, TRIM_ROWS),
    )
    if gone < TRIM_ROWS:
        cursor.execute("SELECT COUNT(*) AS rows_there FROM answers")
        row = cursor.fetchone()
        too_many = min(TRIM_ROWS - gone, (int(row["rows_there"]) if row else 0) - most)
        if too_many > 0:
            gone += cursor.execute("DELETE FROM answers ORDER BY created LIMIT %s", (too_many,))
    return int(gone)
