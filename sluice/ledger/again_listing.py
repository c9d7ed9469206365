"""Writes pages of an earlier job's objects to the job that repeats them, with the answers that need no inference."""

from __future__ import annotations

from collections.abc import Collection

from sluice.ledger import listing, predictions
from sluice.ledger.again import RepeatedPage
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.rows import PageChanges, Prediction


def add_page(
    cursor: LedgerCursor, job_id: int, model_id: int, page: RepeatedPage, unchanged: Collection[bytes], after: bytes
) -> tuple[PageChanges, int]:
    """Write a page that was read from the place `after`, move the cursor, and copy answers.

    They are copied for the keys that still hold the same bytes. Return the changes, and how many were copied.
    Repeating it after a lost answer changes nothing.
    """
    added = listing.add_page(
        cursor, job_id, page.objects, repeat_no=0, last=page.last, repeats=1, place=page.place or None, after=after
    )
    if added.set_back:
        return added, 0
    wanted = sorted(key for key in page.answers if key in unchanged)
    if not wanted:
        return added, 0
    cursor.execute(
        "SELECT id, object_key FROM objects FORCE INDEX (one_version) WHERE job_id = %s AND repeat_no = 0 "
        "AND object_key IN %s AND state = 'pending' ORDER BY id",
        (job_id, wanted),
    )
    copies = [
        Prediction(
            row["id"],
            job_id,
            model_id,
            answer.label,
            answer.score,
            answer.top,
            answer.sha256,
            f"copied from object {answer.object_id}",
        )
        for row in cursor.fetchall()
        for answer in [page.answers[row["object_key"]]]
    ]
    return added, len(predictions.commit(cursor, copies))
