"""`sluice jobs prune`: deletes old jobs with all their rows."""

from __future__ import annotations

import time
from math import isnan
from typing import Annotated, Final

import typer
from rich.table import Table

from sluice.bounds import DAYS_MAX
from sluice.cli.connect import open_database
from sluice.cli.screen import console, counted, safe
from sluice.errors import ConfigurationError
from sluice.ledger import Database, comparisons, pruning
from sluice.ledger.jobs import NUMBER_MAX
from sluice.ledger.pruning import PrunableJob, PruneWish

LOCKED_SECONDS: Final = 0.5

EXAMPLES: Final = """\
Examples:

  sluice jobs prune --older-than 90 --dry-run    what would go
  sluice jobs prune --older-than 90
  sluice jobs prune --keep 100 --older-than 7    never the newest 100"""


def prune(
    older_than: Annotated[
        float | None,
        typer.Option(metavar="DAYS", min=0, max=DAYS_MAX, help="Jobs that ended more than so many days ago."),
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=0, max=NUMBER_MAX, help="All jobs that ended but the newest so many.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
) -> None:
    """Delete jobs that have ended, with their objects and predictions.

    With both options a job goes only if both say so. Jobs that run or
    are paused never go, nor do those whose objects another job is
    repeating. Reports of people stay. Rows go some thousand at a time
    while everything else works on. If it is interrupted, running it
    again goes on where it was. What is left of jobs whose row somebody
    deleted in SQL goes too.
    """
    if older_than is not None and isnan(older_than):
        raise ConfigurationError("--older-than nan: expected a number of days")
    if older_than is None and keep is None:
        raise ConfigurationError("which jobs are to go? Say it with --older-than DAYS, --keep N, or both")
    wish = PruneWish(older_than, keep)
    with open_database() as database:
        found = _find(database, wish)
        if dry_run or not found:
            _show(found, dry_run=dry_run)
            return
        rows = jobs = 0
        for job in found:
            gone = _prune(database, job)
            if gone is not None:
                jobs, rows = jobs + 1, rows + gone
        while database.run(comparisons.sweep):
            pass
    print(f"{counted(jobs, 'job')} deleted, with {counted(rows, 'object')}")


def _find(database: Database, wish: PruneWish) -> list[PrunableJob]:
    found: list[PrunableJob] = []
    while page := database.run(pruning.prunable, wish, found[-1].id if found else 0):
        found += page
    return found + database.run(pruning.orphaned)


def _prune(database: Database, job: PrunableJob) -> int | None:
    """Delete a job and return how many objects it had; None if it can't go, because it runs again."""
    if not job.orphaned and not database.run(pruning.begin, job.id):
        return None
    total, more = 0, True
    while more:
        gone, more = database.run(pruning.prune, job.id)
        total += gone
        if more and not gone:
            time.sleep(LOCKED_SECONDS)  # somebody has the last rows locked; the server ends idle transactions
    return total


def _show(found: list[PrunableJob], *, dry_run: bool) -> None:
    screen = console()
    if not found:
        screen.print("no job is to go: `sluice jobs list` shows them all")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("job", "objects"):
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("ended", no_wrap=True)
    table.add_column("source", overflow="fold", ratio=1)
    table.add_column("model", overflow="fold")
    for job in found:
        live = " (live)" if job.live else ""
        state = " (begun)" if job.begun else ""
        table.add_row(
            f"{job.id}{state}",
            f"{job.objects:,}",
            f"{job.ended:%Y-%m-%d}" if job.ended else "",
            "its row was deleted, this is left" if job.orphaned else safe(job.source),
            safe(job.model) + live,
        )
    screen.print(table)
    if dry_run:
        total = counted(sum(job.objects for job in found), "object")
        screen.print(f"{counted(len(found), 'job')} with {total} would go; nothing was changed")
