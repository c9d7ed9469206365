"""One object with its prediction, for a person who may see it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from sluice.ledger.connection import LedgerCursor
from sluice.ledger.owners import job_of_object
from sluice.ledger.pictures import Top


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """A done object and its prediction."""

    object_id: int
    job_id: int
    source: str
    key: bytes
    etag: str
    size: int
    name: str
    model: str
    top: Top
    predicted: datetime
    removed: datetime | None
    """Since when its bytes are no longer kept, where the gateway kept them."""


def find(cursor: LedgerCursor, object_id: int, person_id: int, *, is_admin: bool) -> ShownPicture | None:
    """Return an object that has a prediction; one that the person may not see is treated as missing."""
    owned = job_of_object(cursor, object_id, person_id, is_admin=is_admin)
    if owned is None:
        return None
    cursor.execute(
        "SELECT o.object_key, o.etag, o.size, n.name AS picture, CONCAT(m.name, '@', m.version) AS model, p.top, "
        "p.created, COALESCE(n.removed, u.removed) AS removed FROM objects o JOIN predictions p ON p.object_id = o.id "
        "JOIN models m ON m.id = p.model_id LEFT JOIN pictures n ON n.object_id = o.id "
        "LEFT JOIN uploads u ON u.job_id = o.job_id WHERE o.id = %s AND o.state = 'done'",
        (object_id,),
    )
    row = cursor.fetchone()
    if row is None:
        return None
    key = row["object_key"]
    return ShownPicture(
        object_id,
        owned.job.id,
        owned.job.source,
        key,
        row["etag"],
        int(row["size"]),
        row["picture"] or key.decode(errors="backslashreplace").rpartition("/")[2],
        row["model"],
        tuple((str(label), float(score)) for label, score in json.loads(row["top"])),
        row["created"],
        row["removed"],
    )
