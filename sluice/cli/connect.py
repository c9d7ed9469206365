"""Code that commands share: settings, a connection to the ledger, and the job that a person means."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from sluice.errors import LedgerError
from sluice.ledger import Database, Job, LedgerCursor
from sluice.ledger import jobs as ledger_jobs
from sluice.settings import Settings, read_settings

PATIENCE: Final = 5.0
"""People wait for less time than processes do; if SLUICE_DATABASE_PATIENCE is set, it applies."""

LAST: Final = "last"


def check_job(asked: str | None) -> str | None:
    """Return what a person named a job by, if it can be one; the database isn't asked."""
    if asked is None or asked == LAST or (asked.isascii() and asked.isdigit()):
        return asked
    raise typer.BadParameter(f"{asked!r} is neither a number nor 'last': `sluice jobs list` shows the numbers")


JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="A job's number, or 'last'.", callback=check_job)]
OptionalJob = Annotated[
    str | None,
    typer.Argument(metavar="[JOB]", help="A job's number, or 'last'; all jobs if left out.", callback=check_job),
]


def settings_of_a_person() -> Settings:
    """Read the settings, with a shorter patience for people."""
    settings = read_settings()
    if "database_patience" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"database_patience": PATIENCE})


def open_database(settings: Settings | None = None) -> Database:
    """Open the connection to the ledger."""
    return Database(settings or settings_of_a_person())


def find_job(cursor: LedgerCursor, asked: str) -> Job:
    """Return the job with this number, or the last one."""
    check_job(asked)
    if asked == LAST:
        job = ledger_jobs.last(cursor)
        if job is None:
            raise LedgerError("there is no job yet: `sluice submit SOURCE` makes one")
        return job
    job = ledger_jobs.get(cursor, int(asked))
    if job is None:
        raise LedgerError(f"there is no job {int(asked)}: `sluice jobs list` shows what there is")
    return job
