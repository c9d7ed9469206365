"""An upload that somebody asks for: whose it is, how far its job is, and what was predicted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from gateway.doors.person import Person
from gateway.ledgers import LedgerPool
from sluice.domain import INSIDE
from sluice.errors import Busy, RequestError
from sluice.ledger import LedgerCursor, predictions, progress, uploads
from sluice.ledger.rows import ENDED, JobProgress, Result
from sluice.ledger.uploads import ArchiveUpload

TOO_EARLY: Final = "Data is being preprocessed. Try again later."
RETRY_SECONDS: Final = 5
PAGE: Final = 500
TOP: Final = 10


@dataclass(frozen=True, slots=True)
class FoundUpload:
    """An upload and its job's progress; None: the job was deleted."""

    upload: ArchiveUpload
    progress: JobProgress | None

    @property
    def is_done(self) -> bool:
        """Return whether all that will be predicted is predicted."""
        return self.progress is not None and self.progress.state == "done"

    @property
    def is_under_way(self) -> bool:
        """Return whether the job may still come to its end."""
        return self.progress is not None and self.progress.state not in ENDED

    def check_done(self) -> int:
        """Return the job's number, or say how far it is if it isn't done."""
        if self.progress is None:
            raise RequestError(HTTPStatus.NOT_FOUND, "the upload's job was deleted, and its predictions with it")
        if self.is_done:
            return self.progress.job
        if self.progress.state in ("failed", "cancelled"):
            why = f": {self.progress.message}" if self.progress.message else ""
            raise RequestError(HTTPStatus.CONFLICT, f"job {self.progress.job} is {self.progress.state}{why}")
        raise Busy(f"{TOO_EARLY} {self.how_far()}", RETRY_SECONDS, HTTPStatus.CONFLICT)

    def how_far(self) -> str:
        """Say in a sentence how far the job is."""
        now = self.progress
        if now is None:
            return "The job was deleted."
        finished = now.done + now.quarantined
        if now.state == "pending" or not now.listed:
            said = "It waits for its turn."
        elif not now.listing_complete:
            said = f"The archive is being listed: {now.listed:,} pictures so far, {finished:,} of them are done."
        else:
            said = f"{finished:,} of {now.listed:,} pictures are done ({100 * finished // max(1, now.listed)} %)."
        return f"{said} {now.message}".rstrip()


async def find_upload(ledger: LedgerPool, person: Person, upload_id: str) -> FoundUpload:
    """Return an upload that is this person's, or that an admin asks for; for others there is none."""
    found = await ledger.run(_find, upload_id)
    # Who isn't signed in knows an upload by its id alone, which nobody can guess.
    if found is None or (found.upload.user_id != person.id and not person.is_admin):
        raise RequestError(HTTPStatus.NOT_FOUND, "there is no such upload: the list of uploads shows yours")
    return found


async def prediction_json(ledger: LedgerPool, bucket: str, upload: ArchiveUpload) -> AsyncIterator[str]:
    """Give `{name: [[member, [[label, probability] x 10]], ...]}` as JSON, a page of rows at a time."""
    yield f"{{{json.dumps(upload.name)}: ["
    within = f"s3://{bucket}/{upload.object_key.decode()}{INSIDE}"
    after, comma = 0, ""
    while upload.job_id is not None:
        page = await ledger.run(predictions.results, upload.job_id, after_id=after, limit=PAGE)
        if page:
            yield comma + ", ".join(json.dumps(as_pair(row, within)) for row in page)
            after, comma = page[-1].object_id, ",\n"
        if len(page) < PAGE:
            break
    yield "]}"


def as_pair(row: Result, within: str) -> list[object]:
    """Return a member's name and its classes, as small classifier services write them: without blanks in a label."""
    return [row.url.removeprefix(within), [[label.replace(" ", "_"), score] for label, score in row.top[:TOP]]]


def _find(cursor: LedgerCursor, upload_id: str) -> FoundUpload | None:
    upload = uploads.get(cursor, upload_id)
    if upload is None:
        return None
    return FoundUpload(upload, progress.progress(cursor, upload.job_id) if upload.job_id is not None else None)
