"""What people say that pictures show, of those that a model answered: labels to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sluice.ledger.browse import read_results
from sluice.ledger.connection import LedgerCursor


@dataclass(frozen=True, slots=True)
class Correction:
    """What somebody says that a picture shows, at the version that they looked at."""

    url: str
    etag: str
    label: str
    said: datetime


def corrections(cursor: LedgerCursor, name: str, after_id: int, limit: int) -> tuple[int, list[Correction]]:
    """Return some labels that people gave a model's pictures, and where to go on (0: no more).

    They confirm an answer or correct it. What somebody changes keeps its place, so the newest needn't come last.
    """
    cursor.execute(
        "SELECT f.id, f.object_id, f.label, f.created, m.name, o.etag FROM feedback f FORCE INDEX (PRIMARY) "
        "LEFT JOIN objects o ON o.id = f.object_id LEFT JOIN predictions p ON p.object_id = f.object_id "
        "LEFT JOIN models m ON m.id = p.model_id WHERE f.id > %s ORDER BY f.id LIMIT %s",
        (after_id, limit),
    )
    rows = cursor.fetchall()
    told = [row for row in rows if row["name"] == name and row["label"]]
    found = read_results(cursor, sorted({row["object_id"] for row in told}))
    urls = {each.result.object_id: each.result.url for each in found}
    labels = [
        Correction(urls[row["object_id"]], row["etag"], row["label"], row["created"])
        for row in told
        if row["object_id"] in urls
    ]
    return (rows[-1]["id"] if len(rows) == limit else 0), labels
