"""Random done objects, with the data to read their bytes again: for `sluice check --bytes` (I3)."""

from __future__ import annotations

import random
from dataclasses import dataclass

from sluice.ledger.connection import LedgerCursor


@dataclass(frozen=True, slots=True)
class SampledObject:
    """A done object and the digest of the bytes that its prediction was made from."""

    object_id: int
    job_id: int
    source: str
    key: bytes
    etag: str
    size: int
    sha256: bytes


def done_objects(cursor: LedgerCursor, count: int) -> list[SampledObject]:
    """Draw at most `count` objects that have a prediction, each by one primary key lookup, without a scan."""
    cursor.execute("SELECT MIN(object_id) AS low, MAX(object_id) AS high FROM predictions")
    row = cursor.fetchone()
    if row is None or row["low"] is None:
        return []
    ids = range(row["low"], row["high"] + 1)
    starts = ids if len(ids) <= count else random.sample(ids, count)
    drawn: dict[int, SampledObject] = {}
    for start in starts:
        if start in drawn:
            continue
        # The next id from there: ids have gaps, and a draw that hits a gap must still find an object.
        cursor.execute(
            "SELECT p.object_id, o.job_id, j.source, o.object_key, o.etag, o.size, p.sha256 "
            "FROM (SELECT object_id, sha256 FROM predictions WHERE object_id >= %s ORDER BY object_id LIMIT 1) p "
            "JOIN objects o ON o.id = p.object_id JOIN jobs j ON j.id = o.job_id",
            (start,),
        )
        for found in cursor.fetchall():
            drawn[found["object_id"]] = SampledObject(
                found["object_id"],
                found["job_id"],
                found["source"],
                found["object_key"],
                found["etag"],
                found["size"],
                found["sha256"],
            )
    return list(drawn.values())
