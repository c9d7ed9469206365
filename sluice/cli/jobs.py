"""`sluice jobs`: list and control jobs. Producers act within a second."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from rich.table import Table

from sluice.cli import prune
from sluice.cli.connect import JobArgument, find_job, open_database
from sluice.cli.screen import console, safe, state_text
from sluice.ledger import Job, LedgerCursor
from sluice.ledger import jobs as ledger_jobs

EXAMPLES: Final = """\
Examples:

  sluice jobs list
  sluice jobs pause 7
  sluice jobs resume last
  sluice jobs retry 7
  sluice jobs priority 7 10
  sluice jobs repair 7
  sluice jobs prune --older-than 90 --dry-run"""

app = typer.Typer(
    help="List, pause, resume, retry, cancel, prioritize, repair and prune jobs.", no_args_is_help=True, epilog=EXAMPLES
)

app.command("prune", epilog=prune.EXAMPLES)(prune.prune)


@app.command("list", epilog="Example:\n\n  sluice jobs list")
def list_jobs() -> None:
    """List all jobs with their settings; `sluice status` shows their progress."""
    with open_database() as database:
        found = database.run(ledger_jobs.list_jobs)
    screen = console()
    if not found:
        screen.print("no job yet: submit one with `sluice submit s3://bucket/prefix`")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("job", "state", "prio"):
        table.add_column(name, no_wrap=True, justify="left" if name == "state" else "right")
    table.add_column("source", overflow="fold", ratio=1)
    table.add_column("model", overflow="fold")
    table.add_column("submitted", no_wrap=True)
    for job in found:
        extra = (" (watched)" if job.watch else "") + (f" (x {job.repeats:,})" if job.repeats > 1 else "")
        table.add_row(
            str(job.id),
            state_text(job.state),
            str(job.priority),
            safe(job.source) + extra,
            safe(job.model) or "live",
            f"{job.created:%Y-%m-%d %H:%M}",
        )
    screen.print(table)


@app.command(epilog="Example:\n\n  sluice jobs pause 7")
def pause(job: JobArgument) -> None:
    """Stop handing out a job's objects; what is under way is finished."""
    _change(job, "paused")


@app.command(epilog="Example:\n\n  sluice jobs resume 7")
def resume(job: JobArgument) -> None:
    """Resume a paused job where it was."""
    _change(job, "running")


@app.command(epilog="Example:\n\n  sluice jobs retry 7")
def retry(job: JobArgument) -> None:
    """Resume a failed job where it was, once its cause is fixed."""
    with open_database() as database:
        job_id = database.run(find_job, job).id
        changed = database.run(ledger_jobs.retry, job_id)
    print(f"job {changed.id} is {changed.state}")


@app.command(epilog="Example:\n\n  sluice jobs cancel 7")
def cancel(job: JobArgument) -> None:
    """Cancel a job for good; its predictions are kept."""
    _change(job, "cancelled")


@app.command(epilog="Example:\n\n  sluice jobs repair 7")
def repair(job: JobArgument) -> None:
    """Put a job right after its rows were changed in SQL, as `sluice check` says.

    Its objects are counted anew, and if it is done and has pending ones,
    it runs again. Commits wait while it counts.
    """
    with open_database() as database:
        found = database.run(find_job, job)
        runs = database.run(ledger_jobs.repair, found.id)
    print(f"job {found.id} is counted anew{' and runs again' if runs else ''}")


@app.command(
    context_settings={"ignore_unknown_options": True},
    epilog="Examples:\n\n  sluice jobs priority 7 10\n  sluice jobs priority last -5",
)
def priority(
    job: JobArgument,
    value: Annotated[int, typer.Argument(min=-(2**31), max=2**31 - 1, help="Higher comes first; the default is 0.")],
) -> None:
    """Set a job's priority: higher comes first, jobs of equal priority share."""

    def change(cursor: LedgerCursor) -> Job:
        found = find_job(cursor, job)
        ledger_jobs.set_priority(cursor, found.id, value)
        return found

    with open_database() as database:
        found = database.run(change)
    print(f"job {found.id} has priority {value}")


def _change(asked: str, to: str) -> None:
    with open_database() as database:
        # The id is looked up once: 'last' may mean another job when the transaction is retried.
        job_id = database.run(find_job, asked).id
        changed = database.run(ledger_jobs.change_state, job_id, to)
    print(f"job {changed.id} is {changed.state}")
