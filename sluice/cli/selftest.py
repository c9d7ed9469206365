"""`sluice selftest`: sends one picture through the whole system, and names the part where it got stuck."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sluice.cli.connect import open_database, settings_of_a_person
from sluice.cli.follow import follow
from sluice.cli.screen import console, safe, warn
from sluice.cli.submit import know_model
from sluice.errors import ConfigurationError, LedgerError, SourceError
from sluice.ledger import Database, JobProgress, LedgerCursor
from sluice.ledger import jobs as ledger_jobs
from sluice.ledger import objects as ledger_objects
from sluice.ledger import predictions as ledger_predictions
from sluice.ledger import progress as ledger_progress
from sluice.ledger.rows import ENDED

if TYPE_CHECKING:
    from sluice.objects.files import BucketFiles

NAME: Final = "picture.jpg"
SIDE: Final = 256

EXAMPLES: Final = """\
Examples:

  sluice selftest s3://photos/
  sluice selftest s3://photos/selftest/ --timeout 300

Exit code 1 if the picture has no row in time, 3 if the database, its
tables or the bucket isn't there."""


def selftest(
    place: Annotated[str, typer.Argument(metavar="S3-URL", help="s3://bucket/ or s3://bucket/prefix/: where.")],
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How long to wait for the row.")] = 120.0,
    model: Annotated[str, typer.Option(help="NAME or NAME@VERSION; default: the only live one.")] = "",
) -> None:
    """Classify one generated picture, to check that every part works.

    Uploads the picture, submits a job for it, waits for its row, prints
    it, and deletes the picture again. The job and its row are kept.
    """
    from sluice.objects import files  # noqa: PLC0415 - brings boto3

    bucket, prefix = files.split(place)
    if prefix and not prefix.endswith("/"):
        raise ConfigurationError(f"{place!r} would begin the picture's name: end it with a slash, {place}/")
    settings = settings_of_a_person()
    folder = f"{prefix}selftest-{os.urandom(6).hex()}/"
    with open_database(settings) as database, closing(files.BucketFiles(bucket, settings)) as opened:
        know_model(database, model)
        with _put(opened, folder + NAME), _submitted(database, opened.url(folder), model) as job:
            seen = follow(lambda cursor: _progress(cursor, job), console(sys.stderr), timeout)
            if not seen or seen[0].state not in ENDED:
                raise LedgerError(f"no row within {timeout:g} s: {_where_it_stands(seen)}")
            _show_row(database, seen[0])


@contextmanager
def _put(opened: BucketFiles, key: str) -> Iterator[None]:
    """Store a new random picture for the length of the block, so that no cache knows its answer."""
    opened.put(key, _picture())
    try:
        yield
    finally:
        try:
            opened.remove(key)
        except SourceError as error:
            warn(str(error))


@contextmanager
def _submitted(database: Database, source: str, model: str) -> Iterator[int]:
    """Submit a job for the picture; cancel it at the end of the block."""
    job = database.run(ledger_jobs.submit, source, model)
    try:
        yield job
    finally:
        try:
            last = database.run(ledger_progress.progress, job)
            if last is not None and last.state not in ENDED:
                database.run(ledger_jobs.change_state, job, "cancelled")
        except LedgerError as error:
            warn(f"job {job} could not be cancelled: {error}")


def _picture() -> bytes:
    from PIL import Image  # noqa: PLC0415 - not for the command's --help

    noise = Image.frombytes("RGB", (8, 8), os.urandom(192)).resize((SIDE, SIDE))
    file = io.BytesIO()
    noise.save(file, "JPEG")
    return file.getvalue()


def _progress(cursor: LedgerCursor, job: int) -> list[JobProgress]:
    found = ledger_progress.progress(cursor, job)
    return [found] if found else []


def _where_it_stands(seen: list[JobProgress]) -> str:
    """Name the part that the picture waits for, and what to check."""
    if not seen:
        return "the database gave no answer since the job was made"
    (last,) = seen
    if last.state == "pending":
        stage = "no producer has begun the job"
        look = "the producer's /ready"
    elif last.state != "running":
        stage, look = f"the job is {last.state}", "`sluice jobs list`"
    elif not last.listed:
        stage, look = "the job has begun, the picture is not listed yet", "the producer's log"
    else:
        stage, look = "the picture is listed, no consumer has committed its answer", "a consumer's /ready"
    return f"{stage}; {last.message or f'look at {look}'}"


def _show_row(database: Database, last: JobProgress) -> None:
    """Print the row, or how the job ended instead."""
    if last.state != "done":
        raise LedgerError(f"the job is {last.state}: {last.message or 'somebody ended it'}")
    if not last.listed:
        raise LedgerError(f"nothing was found in {last.source}: has the producer the same SLUICE_S3_ENDPOINT?")
    rows = database.run(ledger_predictions.results, last.job, limit=1)
    if rows:
        row = rows[0]
        print(f"{safe(row.url)}: {safe(row.label)} {row.score:.4f} ({safe(row.model)})")
        return
    given_up = database.run(ledger_objects.list_quarantined, last.job, limit=1)
    why = f"{given_up[0].reason}: {given_up[0].detail}" if given_up else "`sluice check` may say why"
    raise LedgerError(f"the picture has no row: {why}")
