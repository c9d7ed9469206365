"""`sluice check`: checks I1 to I7. Most are checked in the database; bytes and processes only if options name them."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from sluice.cli.check_result import ROWS_SHOWN, CheckResult
from sluice.cli.connect import open_database
from sluice.cli.screen import complain, console, safe
from sluice.ledger import check as ledger_check
from sluice.ledger.check import InvariantBreach

MEANINGS: Final = {
    "I1": "listed = pending + done + quarantined + superseded",
    "I2": "one prediction for each object and model",
    "I3": "a prediction's bytes are the ETag's bytes",
    "I4": "no consumer is sent more than its credit",
    "I5": "only an object's own fault quarantines it",
    "I6": "done means that a prediction exists",
    "I7": "memory is bounded",
}
BY_FLAG: Final = {
    "I3": "give --bytes N to read N done objects again and compare",
    "I4": "give --metrics URL of the running consumers",
    "I7": "give --metrics URL of the running processes",
}

EXAMPLES: Final = """\
Examples:

  sluice check                what the database can tell
  sluice check --bytes 200    and read 200 done objects again
  sluice check --metrics 127.0.0.1:9101 --metrics 127.0.0.1:9102

Exit code 1 if an invariant is broken, 3 if what was named gave no answer."""


def check(
    sampled: Annotated[int, typer.Option("--bytes", min=0, metavar="N", help="Read N done objects again (I3).")] = 0,
    metrics: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="A process's /metrics (I4, I7); can be repeated.")
    ] = None,
    memory_limit: Annotated[int, typer.Option(min=1, metavar="MB", help="Memory that I7 allows per process.")] = 400,
) -> None:
    """Check the invariants, and name the rows that break one.

    Reads whole tables, which takes minutes for hundreds of millions of
    rows. Running jobs don't disturb it.
    """
    results = {name: CheckResult() for name in MEANINGS}
    unanswered: list[str] = []
    _ask_database(results)
    if sampled:
        from sluice.cli.check_bytes import check_bytes  # noqa: PLC0415 - brings boto3 and obstore

        check_bytes(results["I3"], sampled)
    if metrics:
        from sluice.cli.check_processes import check_processes  # noqa: PLC0415 - brings an HTTP client

        unanswered = check_processes(results["I4"], results["I7"], metrics, memory_limit)
    _show(results)
    for url in unanswered:
        complain(f"no metrics from {url}", hint="start that process with SLUICE_METRICS_PORT set, or correct the URL")
    if any(result.breaches for result in results.values()):
        raise typer.Exit(1)
    if unanswered:
        raise typer.Exit(3)


def _ask_database(results: dict[str, CheckResult]) -> None:
    with open_database() as database:
        breaches = database.run(ledger_check.check)
    for name in ("I1", "I2", "I5", "I6"):
        results[name].verified = True
    for breach in breaches:
        results[breach.invariant].breaches.append(_sentence(breach))


def _sentence(breach: InvariantBreach) -> str:
    rows = ", ".join(str(row) for row in breach.rows[:ROWS_SHOWN])
    more = ", ..." if breach.count > min(len(breach.rows), ROWS_SHOWN) else ""
    return f"{breach.count:,} {breach.sentence}: {rows}{more}"


def _show(results: dict[str, CheckResult]) -> None:
    screen = console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, result in results.items():
        if result.breaches:
            state = Text("BROKEN", style="bold red")
        elif result.verified:
            state = Text("holds", style="green")
        else:
            state = Text("not verified", style="yellow")
        lines = [MEANINGS[name], *result.breaches, *result.notes]
        if not result.verified and not result.breaches and not result.notes:
            lines.append(BY_FLAG[name])
        table.add_row(Text(name, style="bold"), state, safe_lines(lines))
    screen.print(table)
    asked = sum(1 for result in results.values() if result.verified or result.breaches)
    broken = sum(1 for result in results.values() if result.breaches)
    screen.print(f"\n{asked} of {len(results)} verified, {broken} broken")


def safe_lines(lines: list[str]) -> str:
    """Join lines, each made safe for a terminal."""
    return "\n".join(safe(line) for line in lines)
