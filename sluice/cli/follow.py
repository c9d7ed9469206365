"""Follow jobs until they end: a live bar on a terminal, plain lines elsewhere. Survives database restarts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from sluice.cli.connect import settings_of_a_person
from sluice.cli.screen import duration, finished_of, percent, rate, safe, sentence, state_text
from sluice.errors import LedgerUnavailable
from sluice.ledger import Database, JobProgress, LedgerCursor
from sluice.ledger.rows import ENDED

POLL_SECONDS: Final = 0.5
LINE_SECONDS: Final = 5.0
"""Without a terminal: minimum time between two lines that differ only in their counts."""
POLL_PATIENCE: Final = 2.0
OUTAGE_SECONDS: Final = 600.0
"""How long the database may be away before following ends; the jobs continue without it."""

Look = Callable[[LedgerCursor], list[JobProgress]]
Poll = tuple[list[JobProgress], str]


def follow(look: Look, screen: Console, seconds: float = math.inf) -> list[JobProgress]:
    """Show the progress that `look` returns until all jobs have ended, or for `seconds`; return the last progress."""
    settings = settings_of_a_person().model_copy(update={"database_patience": POLL_PATIENCE})
    with Database(settings) as database:
        polls = polls_of(database, look, time.monotonic() + seconds)
        return _live(polls, screen) if screen.is_terminal else lines(polls, screen)


def polls_of(
    database: Database,
    look: Look,
    deadline: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Poll]:
    """Yield the jobs' progress and the database's trouble, repeatedly until all jobs have ended or time is up."""
    seen: list[JobProgress] = []
    away_since: float | None = None
    while True:
        try:
            seen = database.run(look)
            away_since = None
            yield seen, ""
            if all(progress.state in ENDED for progress in seen):
                return
        except LedgerUnavailable:
            now = clock()
            away_since = now if away_since is None else away_since
            away = now - away_since
            if away > OUTAGE_SECONDS:
                raise
            yield seen, f"no answer from the database for {duration(away)}; trying again"
        if clock() >= deadline:
            return
        sleep(POLL_SECONDS)


def _live(polls: Iterator[Poll], screen: Console) -> list[JobProgress]:
    seen: list[JobProgress] = []
    with Live(console=screen, refresh_per_second=8) as live:
        for seen, trouble in polls:
            live.update(view(seen, trouble, screen.width))
    return seen


def lines(polls: Iterator[Poll], screen: Console) -> list[JobProgress]:
    """Write a line for each change of state, and now and then for a new count; return the last progress."""
    seen: list[JobProgress] = []
    said: dict[int, tuple[tuple[str, str], float]] = {}
    was_away = False
    for seen, trouble in polls:
        if trouble and not was_away:
            screen.print(Text(trouble), soft_wrap=True)
        was_away = bool(trouble)
        for progress in seen:
            news, now = (progress.state, progress.message), time.monotonic()
            before, at = said.get(progress.job, (("", ""), 0.0))
            if news != before or (progress.state not in ENDED and now - at >= LINE_SECONDS):
                said[progress.job] = (news, now)
                screen.print(Text(sentence(progress)), soft_wrap=True)
    return seen


def view(seen: list[JobProgress], trouble: str, width: int) -> RenderableType:
    """Draw a line and a bar for each job."""
    parts: list[RenderableType] = []
    for progress in seen:
        parts += [_head(progress), _bar(progress, width)]
        if progress.message:
            parts.append(Text(f"  {safe(progress.message)}", style="yellow"))
    if trouble:
        parts.append(Spinner("dots", Text(trouble, style="yellow")))
    return Group(*parts) if parts else Text("no unfinished job")


def _head(progress: JobProgress) -> Text:
    line = Text.assemble((f"job {progress.job}", "bold"), "  ", state_text(progress.state), "  ", safe(progress.source))
    if progress.state == "running" and not progress.listing_complete:
        line.append("  listing goes on", style="dim")
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _bar(progress: JobProgress, width: int) -> RenderableType:
    finished, known = finished_of(progress)
    figures = Table.grid(padding=(0, 1))
    for _ in range(6):
        figures.add_column(no_wrap=True)
    waits = progress.state in {"pending", "running"} and not known
    figures.add_row(
        ProgressBar(total=max(known, 1), completed=finished, width=max(10, width - 70), pulse=waits),
        Text(f"{percent(progress):>5}"),
        Text(f"{finished:,}/{known:,}"),
        Text(rate(progress.images_per_second), style="cyan"),
        Text(f"{duration(progress.eta_seconds)} left" if progress.eta_seconds is not None and progress.pending else ""),
        Text(f"{progress.quarantined:,} quarantined" if progress.quarantined else "", style="yellow"),
    )
    return figures
