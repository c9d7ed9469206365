"""How output is shown to people: safely, since names come from buckets, and in words.

A key may contain line breaks, terminal escape codes, characters that reverse the text's direction, or rich's markup.
Everything shown goes through `safe`, and the consoles interpret no markup.
"""

from __future__ import annotations

import re
import sys
from typing import Final, TextIO

from rich.console import Console
from rich.text import Text

from sluice.domain import Reason
from sluice.exports.cells import UNSAFE
from sluice.ledger import JobProgress

MINUTE: Final = 60
HOUR: Final = 3600
STATE_STYLES: Final = {"running": "cyan", "done": "green", "failed": "red", "cancelled": "yellow", "paused": "yellow"}


def console(stream: TextIO | None = None, width: int | None = None) -> Console:
    """Return a console that shows text as it is."""
    shown = Console(file=stream or sys.stdout, markup=False, highlight=False, emoji=False, width=width)
    if width is None and not shown.is_terminal:
        # Not a terminal: wide enough that a log or pipe isn't cut at 80 columns.
        shown.width = 200
    return shown


def safe(text: object) -> str:
    r"""Escape characters that control a terminal, as \xNN or \uNNNN."""
    return UNSAFE.sub(_escaped, str(text))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    short = {10: "\\n", 13: "\\r", 9: "\\t"}.get(code)
    return short or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")  # noqa: PLR2004 - one byte


def complain(message: str, hint: str = "") -> None:
    """Print an error to standard error, in red, with a hint."""
    first, *more = message.split("\n")
    shown = console(sys.stderr)
    shown.print(Text(f"error: {safe(first)}", style="bold red"), soft_wrap=True)
    for line in [*more, *([hint] if hint else [])]:
        shown.print(Text(f"  {safe(line.strip())}"), soft_wrap=True)


def warn(message: str) -> None:
    """Print a warning to standard error."""
    console(sys.stderr).print(Text(safe(message), style="yellow"), soft_wrap=True)


def meaning_and_remedy(code: str) -> tuple[str, str]:
    """Return a reason's meaning and remedy, also for codes that only a newer version knows."""
    known = Reason.of_code(code)
    if known is None:
        return "", "a newer version gave this reason: see its docs/operations.md"
    return known.description, known.remedy


def state_text(state: str) -> Text:
    """Return a job's state in its colour."""
    return Text(safe(state), style=STATE_STYLES.get(state, ""))


def duration(seconds: float | None) -> str:
    """Return a time in words: '45 s', '3 min 20 s', '2 h 05 min'."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02d} s"
    return f"{whole // HOUR:,} h {whole % HOUR // MINUTE:02d} min"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: '1 object', '1,200 objects'."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def rate(images_per_second: float) -> str:
    """Return a rate in words, '' for none."""
    return f"{images_per_second:,.1f}/s" if images_per_second > 0 else ""


def finished_of(progress: JobProgress) -> tuple[int, int]:
    """Return how many objects are finished, and how many there are (without superseded ones)."""
    return progress.done + progress.quarantined, progress.listed - progress.superseded


def percent(progress: JobProgress) -> str:
    """Return the finished share; less than 100 % while objects are pending or the listing continues."""
    finished, known = finished_of(progress)
    if not known:
        return "100 %" if progress.listing_complete else "0 %"
    share = int(100 * finished / known)
    return f"{min(share, 99) if progress.pending or not progress.listing_complete else share} %"


def sentence(progress: JobProgress) -> str:
    """Describe a job's progress in one line."""
    finished, known = finished_of(progress)
    parts = [f"job {progress.job} {progress.state}: {finished:,} of {known:,} ({percent(progress)})"]
    if not progress.listing_complete:
        parts.append("listing goes on" if progress.state == "running" else "listing not complete")
    if progress.quarantined:
        parts.append(f"{progress.quarantined:,} quarantined")
    if progress.images_per_second > 0:
        parts.append(f"{progress.images_per_second:,.1f} images/s")
    if progress.eta_seconds is not None and progress.pending:
        parts.append(f"{duration(progress.eta_seconds)} left")
    if progress.message:
        parts.append(safe(progress.message))
    return ", ".join(parts)
