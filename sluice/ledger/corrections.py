"""What people say that pictures show, of those that a model answered: labels to learn from."""

from __future__ import annotations

from sluice.ledger.browse import read_results
from sluice.ledger.connection import LedgerCursor


def corrections(cursor: LedgerCursor, name: str, after_id: int, limit: int) -> tuple[int, list[tuple[str, str]]]:
    """Return the next labels that people gave a model's pictures, oldest first, and where to go on (0: no more).

    They confirm an answer or correct it. Of one object the newest comes last.
    """
    cursor.execute(
        "SELECT f.id, f.object_id, f.label, m.name FROM feedback f FORCE INDEX (PRIMARY) "
        "LEFT JOIN predictions p ON p.object_id = f.object_id LEFT JOIN models m ON m.id = p.model_id "
        "WHERE f.id > %s ORDER BY f.id LIMIT %s",
        (after_id, limit),
    )
    rows = cursor.fetchall()
    told = [(row["object_id"], row["label"]) for row in rows if row["name"] == name and row["label"]]
    found = read_results(cursor, sorted({number for number, _ in told}))
    urls = {each.result.object_id: each.result.url for each in found}
    labels = [(urls[number], label) for number, label in told if number in urls]
    return (rows[-1]["id"] if len(rows) == limit else 0), labels
