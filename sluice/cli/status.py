"""`sluice status`: the progress of jobs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sluice.cli.connect import OptionalJob, find_job, open_database
from sluice.cli.follow import follow, view
from sluice.cli.screen import console, duration, finished_of, percent, rate, safe, sentence, state_text
from sluice.exports import json_safe
from sluice.ledger import Job, JobProgress, LedgerCursor
from sluice.ledger import progress as ledger_progress
from sluice.ledger.rows import ENDED

ENDED_SHOWN: Final = 10
GAP: Final = 2
SOURCE_LEAST: Final = 10

EXAMPLES: Final = """\
Examples:

  sluice status                all unfinished jobs and the last that ended
  sluice status 7 --watch      a live bar until job 7 ends
  sluice status last --json    for scripts; with --watch a line per change

Exit code 1 if the job that was asked for failed."""


def status(
    job: OptionalJob = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow until the job, or each unfinished one, ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how far jobs are: counts, rate and time left."""
    screen = console()
    with open_database() as database:
        if job is None:
            asked = None
            seen = database.run(ledger_progress.all_progress)
        else:
            asked = database.run(find_job, job)
            seen = database.run(_progress_of, [asked.id])
    if watch:
        ids = [progress.job for progress in seen if asked is not None or progress.state not in ENDED]
        seen = _watch(ids, screen, as_json)
    elif as_json:
        print(_json(seen[0] if asked is not None else seen))
    elif asked is not None:
        _show_one(asked, seen[0], screen)
    else:
        _show_all(seen, screen)
    if asked is not None and seen and seen[0].state == "failed":
        raise typer.Exit(1)


def _progress_of(cursor: LedgerCursor, ids: list[int]) -> list[JobProgress]:
    found = (ledger_progress.progress(cursor, job_id) for job_id in ids)
    return [progress for progress in found if progress is not None]


def _watch(ids: list[int], screen: Console, as_json: bool) -> list[JobProgress]:
    said: dict[int, JobProgress] = {}

    def look(cursor: LedgerCursor) -> list[JobProgress]:
        seen = _progress_of(cursor, ids)
        for progress in seen if as_json else ():
            if said.get(progress.job) != progress:
                said[progress.job] = progress
                print(_json(progress), flush=True)
        return seen

    if as_json:
        return follow(look, Console(quiet=True, force_terminal=False))
    return follow(look, screen)


def _json(seen: JobProgress | list[JobProgress]) -> str:
    made = [asdict(progress) for progress in seen] if isinstance(seen, list) else asdict(seen)
    return json_safe(json.dumps(made, ensure_ascii=False, default=str))


def _show_one(job: Job, progress: JobProgress, screen: Console) -> None:
    if not screen.is_terminal:
        screen.print(Text(sentence(progress)), soft_wrap=True)
        return
    screen.print(view([progress], "", screen.width))
    table = Table.grid(padding=(0, 2))
    known = f"{progress.listed:,} listed" + ("" if progress.listing_complete else " so far")
    table.add_row(
        "  objects",
        f"{known}, {progress.pending:,} pending, {progress.done:,} done, {progress.quarantined:,} quarantined, "
        f"{progress.superseded:,} superseded",
    )
    table.add_row("  model", safe(job.model) or "the live one")
    how_often = f"every {job.watch_seconds} s" if job.watch_seconds else "all the time"
    table.add_row("  priority", f"{job.priority}" + (f", watched {how_often}" if job.watch else ""))
    times = [("submitted", job.created), ("started", job.started), ("ended", job.finished)]
    table.add_row("  times", ", ".join(f"{name} {when:%Y-%m-%d %H:%M:%S}" for name, when in times if when))
    screen.print(table)


def _show_all(seen: list[JobProgress], screen: Console) -> None:
    ended = [progress for progress in seen if progress.state in ENDED]
    hidden = {progress.job for progress in ended[:-ENDED_SHOWN]}
    shown = [progress for progress in seen if progress.job not in hidden]
    if screen.is_terminal and not seen:
        screen.print("no job yet: submit one with `sluice submit s3://bucket/prefix`")
        return
    table = _table(shown, screen.width) if screen.is_terminal else None
    if table is None:
        for progress in shown:
            screen.print(Text(sentence(progress)), soft_wrap=True)
        return
    screen.print(table)
    for progress in shown:
        if progress.message:
            screen.print(Text(f"job {progress.job}: {safe(progress.message)}", style="yellow"), soft_wrap=True)
    if hidden:
        screen.print(Text(f"{len(hidden):,} older jobs that ended: `sluice jobs list` shows them", style="dim"))


def _table(shown: list[JobProgress], width: int) -> Table | None:
    """Return the jobs as a table; None where the terminal is too narrow for one."""
    figures = [
        (
            str(progress.job),
            progress.state,
            f"{percent(progress)} of {finished_of(progress)[1]:,}",
            f"{progress.quarantined:,}",
            rate(progress.images_per_second),
            duration(progress.eta_seconds) if progress.pending else "",
        )
        for progress in shown
    ]
    heads = ("job", "state", "finished", "quar.", "rate", "left")
    # The source gets the space that the figures leave, because figures must never be cut.
    taken = sum(max(map(len, column)) + GAP for column in zip(heads, *figures, strict=True))
    if taken + SOURCE_LEAST > width:
        return None
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    table.add_column(heads[0], justify="right", no_wrap=True)
    table.add_column(heads[1], no_wrap=True)
    table.add_column("source", no_wrap=True, overflow="ellipsis", max_width=width - taken)
    for head in heads[2:]:
        table.add_column(head, justify="right", no_wrap=True)
    for progress, (job, state, *rest) in zip(shown, figures, strict=True):
        table.add_row(job, state_text(state), safe(progress.source), *rest)
    return table
