"""Jobs with given predictions, for tests of what compares, repeats and prunes them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from sluice import ledger
from sluice.domain import ListedObject
from sluice.ledger import Database, LedgerCursor, Prediction, QuarantineEntry

SOURCE = "s3://photos"
LABELS = ("cat", "dog", "cow")

Said = tuple[str, float] | None
"""Label and score; None: the object is quarantined."""


def add_version(cursor: LedgerCursor, version: str, *, live: bool = False) -> int:
    """Register a version of the model `animals`."""
    digest = version.encode().hex()[:64].ljust(64, "0")
    model = ledger.models.register(cursor, "animals", version, digest, {"resize": 256}, LABELS)
    if live:
        ledger.models.promote(cursor, "animals", version)
    return model.id


def content(key: bytes) -> bytes:
    """Return the digest of what is in a key of these jobs."""
    return key.ljust(32, b"\0")[:32]


def add_job(
    database: Database,
    said: Mapping[bytes, Said] | Sequence[Mapping[bytes, Said]],
    version: str = "1",
    source: str = SOURCE,
    *,
    end: bool = True,
) -> int:
    """Insert a job with these predictions, in order of key; several mappings are its repeats."""
    repeats = [said] if isinstance(said, Mapping) else list(said)

    def work(cursor: LedgerCursor) -> int:
        model_id = add_version(cursor, version)
        job = ledger.jobs.submit(cursor, source, f"animals@{version}", repeats=len(repeats))
        assert ledger.jobs.start(cursor, job, model_id)
        for number, each in enumerate(repeats):
            page = [ListedObject(key, hashlib.sha256(key).hexdigest(), len(key)) for key in sorted(each)]
            ledger.listing.add_page(cursor, job, page, repeat_no=number, last=True, repeats=len(repeats))
            cursor.execute(
                "SELECT id, object_key FROM objects WHERE job_id = %s AND repeat_no = %s ORDER BY id", (job, number)
            )
            answers = [(row["id"], row["object_key"], each[row["object_key"]]) for row in cursor.fetchall()]
            ledger.predictions.commit(
                cursor,
                [
                    Prediction(i, job, model_id, one[0], one[1], (one,), content(key), "test")
                    for i, key, one in answers
                    if one is not None
                ],
            )
            ledger.objects.quarantine(cursor, [QuarantineEntry(i, "corrupt", "") for i, _, one in answers if not one])
        if end:
            assert ledger.jobs.finish(cursor, job)
        return job

    return database.run(work)


def age(database: Database, job: int, days: float) -> None:
    """Let a job have ended so many days ago."""
    database.run(
        lambda cursor: cursor.execute(
            "UPDATE jobs SET finished = CURRENT_TIMESTAMP(3) - INTERVAL %s SECOND WHERE id = %s",
            (round(days * 86400), job),
        )
    )
