"""`sluice diff`: what two jobs, or two versions of a model, say of the same objects."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Final

import typer
from rich.table import Table

from sluice.cli.connect import open_database, settings_of_a_person
from sluice.cli.screen import console, safe
from sluice.errors import ConfigurationError
from sluice.exports.cells import csv_lines
from sluice.ledger import Database, comparisons, differences
from sluice.ledger.comparing import compare
from sluice.ledger.comparisons import Comparison
from sluice.ledger.differences import ComparisonSummary, Difference, DifferenceKind

ROWS: Final = 20
PAIRS: Final = 10
PAGE: Final = 1000
COLUMNS: Final = ("kind", "size", "before_label", "before_score", "after_label", "after_score", "url")

EXAMPLES: Final = """\
Examples:

  sluice diff 7 9                                two jobs
  sluice diff drugs@1.0 drugs@2.0                the newest jobs of two versions
  sluice diff 7 9 --from drug --to other         of one pair of labels
  sluice diff 7 9 --kind gone --format csv       all that only job 7 has

In SQL, also for what is the same in both:

  SELECT url, before_label, after_label FROM prediction_diff
  WHERE before_job = 7 AND after_job = 9 AND kind = 'changed';"""


class DiffFormat(StrEnum):
    """The format of the output."""

    TABLE = "table"
    CSV = "csv"


def diff(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="A job's number, 'last', or NAME@VERSION.")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="Another job's number, 'last', or NAME@VERSION.")],
    kind: Annotated[
        DifferenceKind, typer.Option(help="changed: another label; gone, new: only one of them has a prediction.")
    ] = DifferenceKind.CHANGED,
    label_from: Annotated[str | None, typer.Option("--from", help="Only what was called so, with --to.")] = None,
    label_to: Annotated[str | None, typer.Option("--to", help="Only what is called so now, with --from.")] = None,
    as_format: Annotated[DiffFormat, typer.Option("--format", help="Output format.")] = DiffFormat.TABLE,
    limit: Annotated[
        int | None, typer.Option(min=1, help=f"Maximum number of rows; default: {ROWS} in a table, else all.")
    ] = None,
) -> None:
    """Compare the predictions of two jobs, or of two versions: the largest changes first.

    Objects are compared by their keys. The size of a change is the mean
    of the two scores: both sure, and of different labels, is 1.
    """
    pair = _pair(kind, label_from, label_to)
    settings = settings_of_a_person()
    with open_database(settings) as database:
        jobs = database.run(comparisons.job_pair, before, after)
        database.run(comparisons.check_pair, *jobs)
        comparison = compare(settings, *jobs)
        most = limit or (ROWS if as_format is DiffFormat.TABLE else None)
        rows = _rows(database, comparison, kind, pair, most)
        if as_format is DiffFormat.CSV:
            sys.stdout.flush()
            sys.stdout.buffer.write(csv_lines([COLUMNS]))
            for row in rows:
                sys.stdout.buffer.write(csv_lines([_cells(row)]))
            return
        _show(comparison, database.run(differences.summarize_comparison, comparison), rows)


def _pair(kind: DifferenceKind, label_from: str | None, label_to: str | None) -> tuple[str, str] | None:
    """Return the pair of labels that is asked for; one that has no counterpart is ''."""
    if label_from is None and label_to is None:
        return None
    if kind is DifferenceKind.CHANGED and (label_from is None or label_to is None):
        raise ConfigurationError("a pair of labels has two: give both --from and --to")
    if (kind is DifferenceKind.GONE and label_to is not None) or (
        kind is DifferenceKind.NEW and label_from is not None
    ):
        raise ConfigurationError(f"what is {kind} has one label: give --from for what is gone, --to for what is new")
    return label_from or "", label_to or ""


def _rows(
    database: Database, comparison: Comparison, kind: DifferenceKind, pair: tuple[str, str] | None, most: int | None
) -> Iterator[Difference]:
    place: differences.DifferencePlace | None = None
    left = most
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        page = database.run(differences.differences_page, comparison, kind, pair, after=place, limit=size)
        yield from page.rows
        if page.next is None:
            return
        place = page.next
        left = None if left is None else left - size


def _cells(row: Difference) -> tuple[object, ...]:
    before, after = row.before, row.after
    return (
        str(row.kind),
        f"{row.size:.6g}",
        before.label if before else "",
        before.score if before else "",
        after.label if after else "",
        after.score if after else "",
        row.url,
    )


def _show(comparison: Comparison, summary: ComparisonSummary, rows: Iterator[Difference]) -> None:
    screen = console()
    screen.print(
        f"jobs {comparison.before} and {comparison.after}: {summary.same:,} the same, {summary.changed:,} changed, "
        f"{summary.gone:,} gone, {summary.new:,} new"
    )
    pairs = [pair for pair in summary.pairs if pair.kind is DifferenceKind.CHANGED][:PAIRS]
    if pairs:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("objects", justify="right", no_wrap=True)
        table.add_column("from", overflow="fold")
        table.add_column("to", overflow="fold")
        for pair in pairs:
            table.add_row(f"{pair.objects:,}", safe(pair.before), safe(pair.after))
        screen.print()
        screen.print(table)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("size", "before", "after"):
        table.add_column(name, overflow="fold")
    table.add_column("url", overflow="fold", ratio=1)
    for row in rows:
        told = [f"{safe(each.label)} {each.score:.3f}" if each else "" for each in (row.before, row.after)]
        table.add_row(f"{row.size:.3f}", *told, safe(row.url))
    if table.row_count:
        screen.print()
        screen.print(table)
