"""`sluice submit`: inserts a job, and optionally waits for its end."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sluice.cli.connect import find_job, open_database
from sluice.cli.follow import follow
from sluice.cli.screen import console, duration, meaning_and_remedy, rate, safe, warn
from sluice.domain import check_source, go_inside
from sluice.errors import ConfigurationError, LedgerError
from sluice.ledger import Database, Job, JobProgress, LedgerCursor
from sluice.ledger import again as ledger_again
from sluice.ledger import jobs as ledger_jobs
from sluice.ledger import models as ledger_models
from sluice.ledger import objects as ledger_objects
from sluice.ledger import progress as ledger_progress
from sluice.ledger.again import Repetition
from sluice.ledger.jobs import NUMBER_MAX

WATCH_SECONDS: Final = 60

EXAMPLES: Final = """\
Examples:

  sluice submit s3://photos                 a whole bucket
  sluice submit s3://photos/2024/ --wait    a prefix, with a progress bar
  sluice submit s3://inbox --watch          new and changed keys as they come
  sluice submit s3://photos/holiday.zip     what is in an archive: zip or tar
  sluice submit s3://inbox --archives       what is in all archives below a prefix
  sluice submit s3://sample --repeat 100    each object 100 times, to measure
  sluice submit --again 7 --model drugs@2.0                what job 7 met
  sluice submit --again 7 --model drugs@2.0 --below 0.6    where it was unsure
  sluice submit file:///srv/photos --model resnet18@1.0 --priority 5"""


def submit(  # noqa: PLR0913, PLR0917 - each option of the command is one
    source: Annotated[
        str,
        typer.Argument(metavar="[SOURCE]", help="s3://bucket, s3://bucket/prefix, file:///folder; a zip or tar."),
    ] = "",
    model: Annotated[str, typer.Option(help="NAME or NAME@VERSION; left out: the only live one.")] = "",
    archives: Annotated[bool, typer.Option("--archives", help="Classify what is in the zips and tars there.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="List again and again; the job has no end.")] = False,
    watch_seconds: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=NUMBER_MAX,
            help=f"With --watch: seconds between two listings ({WATCH_SECONDS}); 0: up to 4 a second, which S3 bills.",
        ),
    ] = None,
    priority: Annotated[int, typer.Option(min=-(2**31), max=2**31 - 1, help="Higher comes first.")] = 0,
    repeat: Annotated[int, typer.Option(min=1, max=NUMBER_MAX, help="Classify each object this many times.")] = 1,
    again: Annotated[
        str, typer.Option(metavar="JOB", help="Instead of SOURCE: the objects of an earlier job, without a listing.")
    ] = "",
    below: Annotated[
        float | None, typer.Option(min=0, max=1, help="With --again: only those of which it was less sure.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="With --again: only those that it called so.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress until the job has ended.")] = False,
) -> None:
    """Have all images of a bucket, prefix, folder or archive classified.

    Prints the job's number; nothing else where the output is no terminal.
    With --wait the exit code is 1 if the job fails, is cancelled, or finds nothing to classify.
    Quarantined objects are a warning only.

    With --again, what the model has answered already is copied.
    """
    screen = console()
    if watch_seconds is not None and not watch:
        raise ConfigurationError("--watch-seconds is for jobs with --watch: add --watch, or leave it out")
    if again:
        _check_again(source, is_listing=archives or watch or repeat > 1)
        job_id = _submit_again(again, model, below, label, priority)
        _tell(job_id, screen, wait=wait)
        return
    if below is not None or label is not None:
        raise ConfigurationError("--below and --label choose among an earlier job's objects: name it with --again JOB")
    if not source:
        raise ConfigurationError(
            "nothing to classify is named: give a SOURCE such as s3://photos/2024/, or --again JOB"
        )
    source = go_inside(check_source(source)) if archives else check_source(source)  # before any message about models
    with open_database() as database:
        know_model(database, model)
        job_id = database.run(
            ledger_jobs.submit,
            source,
            model,
            priority=priority,
            watch=watch,
            watch_seconds=WATCH_SECONDS if watch_seconds is None else watch_seconds,
            repeats=repeat,
        )
    if wait and watch:
        warn("a job with --watch never ends: Ctrl-C stops following it, `sluice jobs cancel` ends it")
    _tell(job_id, screen, wait=wait)


def _check_again(source: str, *, is_listing: bool) -> None:
    if source:
        raise ConfigurationError(f"both {source} and --again are named: give the one or the other")
    if is_listing:
        raise ConfigurationError("--again takes an earlier job's objects: leave --archives, --watch and --repeat out")


def _submit_again(again: str, model: str, below: float | None, label: str | None, priority: int) -> int:
    with open_database() as database:
        earlier = database.run(find_job, again)
        know_model(database, model)
        wish = Repetition(earlier.id, below, label)
        return database.run(ledger_again.submit, wish, model, priority=priority)


def _tell(job_id: int, screen: Console, *, wait: bool) -> None:
    """Print a job's number, or follow it."""
    if wait:
        wait_for(job_id, screen)
    elif screen.is_terminal:
        print(f"job {job_id} submitted: `sluice status {job_id} --watch` follows it")
    else:
        print(job_id)


def wait_for(job_id: int, screen: Console) -> None:
    """Follow a job to its end and print a summary; exit with 1 if it didn't succeed."""

    def look(cursor: LedgerCursor) -> list[JobProgress]:
        found = ledger_progress.progress(cursor, job_id)
        return [found] if found else []

    try:
        seen = follow(look, screen)
    except KeyboardInterrupt:
        warn(
            f"job {job_id} goes on: `sluice status {job_id} --watch` follows it, `sluice jobs cancel {job_id}` ends it"
        )
        raise
    if not seen:
        raise LedgerError(f"job {job_id} was deleted meanwhile: `sluice jobs list` shows what there is")
    with open_database() as database:
        job = database.run(ledger_jobs.get, job_id)
        reasons = database.run(ledger_objects.count_reasons, job_id)
    if seen[0].state == "done" and seen[0].listed == 0:
        warn(f"{safe(seen[0].source)}: {safe(job.message if job and job.message else 'nothing is there')}")
        raise typer.Exit(1)
    if job is not None:
        _sum_up(job, seen[0], reasons, screen)
    if seen[0].state != "done":
        raise typer.Exit(1)


def _sum_up(job: Job, progress: JobProgress, reasons: dict[str, int], screen: Console) -> None:
    seconds = (job.finished - job.started).total_seconds() if job.finished and job.started else None
    table = Table.grid(padding=(0, 2))
    counts = f"{progress.done:,} done, {progress.quarantined:,} quarantined"
    if progress.superseded:
        counts += f", {progress.superseded:,} superseded by a newer version"
    if progress.pending:
        counts += f", {progress.pending:,} not begun"
    table.add_row("objects", counts)
    if seconds is not None:
        pace = rate((progress.done + progress.quarantined) / seconds) if seconds > 0 else ""
        pace = pace and f", {pace}"
        table.add_row("time", f"{seconds:,.1f} s{pace}" if seconds < 60 else f"{duration(seconds)}{pace}")  # noqa: PLR2004
    table.add_row("look", f"sluice results {job.id} --limit 10")
    table.add_row("SQL", f"SELECT url, label, score FROM results WHERE job = {job.id} ORDER BY score DESC LIMIT 10;")  # noqa: S608 - shown, not run; the id is a number
    screen.print()
    screen.print(table)
    if reasons:
        screen.print(Text(f"\nquarantined ({progress.quarantined:,}):", style="yellow"))
        screen.print(_reasons_table(reasons))
        screen.print(f"`sluice quarantine list {job.id}` shows them, `sluice quarantine replay {job.id}` tries again")


def _reasons_table(reasons: dict[str, int]) -> Table:
    table = Table.grid(padding=(0, 2))
    for reason, count in reasons.items():
        meaning, _ = meaning_and_remedy(reason)
        table.add_row(f"{count:>7,}", safe(reason), meaning)
    return table


def know_model(database: Database, model: str) -> None:
    """Reject an unknown model, and an empty name if several are live. Without any model, only warn: one may come."""
    try:
        database.run(ledger_models.resolve, model)
    except ConfigurationError as error:
        if model or any(known.live for known in database.run(ledger_models.list_models)):
            raise
        warn(f"{error}; the job waits until there is one")
