"""`sluice results`: a job's predictions as a table, CSV, JSON lines or Parquet.

Rows are read in pages by object id and written immediately, so memory doesn't grow with the job.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated, Final

import typer
from rich.table import Table

from sluice.cli.connect import JobArgument, find_job, open_database
from sluice.cli.screen import console, counted, safe, warn
from sluice.errors import ConfigurationError
from sluice.exports import CsvResults, ExportFormat, ResultsWriter, has_parquet, results_writer
from sluice.ledger import Database, Result
from sluice.ledger import predictions as ledger_predictions
from sluice.ledger import progress as ledger_progress
from sluice.ledger.rows import ENDED

PAGE: Final = 1000
TABLE_ROWS: Final = 50

EXAMPLES: Final = """\
Examples:

  sluice results last                                  the first 50 rows
  sluice results 7 --output photos.csv                 all rows
  sluice results 7 --format jsonl | jq -r .label | sort | uniq -c
  sluice results 7 --output photos.parquet

The best rows first, in SQL:

  SELECT url, label, score FROM results
  WHERE job = 7 ORDER BY score DESC LIMIT 10;"""


class OutputFormat(StrEnum):
    """The format of the output."""

    TABLE = "table"
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


def results(
    job: JobArgument,
    wanted: Annotated[
        OutputFormat | None,
        typer.Option("--format", help="Output format; default: as --output's name ends, else a table."),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="File to write; it appears when it is complete.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help=f"Maximum number of rows; default: {TABLE_ROWS} in a table, else all."),
    ] = None,
) -> None:
    """Write a job's predictions, in the order of its objects.

    In CSV, text that a spreadsheet would read as a formula is prefixed
    with '. Control characters are escaped only on a terminal.
    """
    as_format = wanted or _format_of(output)
    if as_format is OutputFormat.PARQUET:
        _need_pyarrow()
        if output is None and sys.stdout.isatty():
            raise ConfigurationError("Parquet is a binary format: name a file with --output, or redirect the output")
    if output is not None and not output.parent.is_dir():
        raise ConfigurationError(
            f"{output} can't be written: there is no folder {output.parent}: make it, or name another with --output"
        )
    most = limit or (TABLE_ROWS if as_format is OutputFormat.TABLE else None)
    with open_database() as database:
        found = database.run(find_job, job)
        pages = _pages(database, found.id, most)
        written = 0
        with _opened(output) as file:
            write = _write_table(pages, file) if as_format is OutputFormat.TABLE else _write(as_format, pages, file)
            for count in write:
                written += count
        progress = database.run(ledger_progress.progress, found.id)
    if output is not None:
        print(f"{counted(written, 'row')} in {safe(output)}", file=sys.stderr)
    if progress is None:
        return
    if progress.state not in ENDED and (progress.pending or not progress.listing_complete):
        warn(f"job {found.id} is {progress.state}, {counted(progress.pending, 'object')} pending: more rows may come")
    if as_format is OutputFormat.TABLE and limit is None and written < progress.done:
        warn(f"{written:,} of {progress.done:,} rows: --limit N shows more, --format csv writes all")


def _format_of(output: Path | None) -> OutputFormat:
    """Return the format that a file's name says."""
    ends = "" if output is None else output.suffix.lower().removeprefix(".")
    return OutputFormat(ends) if ends in set(OutputFormat) else OutputFormat.TABLE


def _pages(database: Database, job_id: int, most: int | None) -> Iterator[list[Result]]:
    after, left = 0, most
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        page = database.run(ledger_predictions.results, job_id, after_id=after, limit=size)
        if page:
            yield page
        if len(page) < size:
            return
        after = page[-1].object_id
        left = None if left is None else left - len(page)


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[IO[bytes]]:
    """Open the output. A file gets its name when it is complete; a pipe or device is written to directly."""
    if output is None:
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    is_plain = not output.exists() or output.is_file()
    partial = output.with_name(f"{output.name}.part") if is_plain else output
    try:
        with partial.open("wb") as file:
            yield file
        if is_plain:
            partial.replace(output)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ConfigurationError(f"{output} can't be written: {error.strerror}: name another with --output") from error
    finally:
        if is_plain:
            partial.unlink(missing_ok=True)


def _write_table(pages: Iterable[list[Result]], file: IO[bytes]) -> Iterator[int]:
    text = os.fdopen(os.dup(file.fileno()), "w", encoding="utf-8", errors="backslashreplace")
    with text:
        screen = console(text)
        for number, page in enumerate(pages):
            # Columns have the same width on each page, so that the pages form one table.
            table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=number == 0, expand=True)
            table.add_column("url", overflow="fold", ratio=3)
            table.add_column("label", overflow="fold", ratio=2)
            table.add_column("score", justify="right", width=6, no_wrap=True)
            for row in page:
                table.add_row(safe(row.url), safe(row.label), f"{row.score:.4f}")
            screen.print(table)
            yield len(page)
        text.flush()


def _write(as_format: OutputFormat, pages: Iterable[list[Result]], file: IO[bytes]) -> Iterator[int]:
    writer = _writer(as_format, file)
    for page in pages:
        file.write(writer.page(page))
        yield len(page)
    file.write(writer.end())


def _writer(as_format: OutputFormat, file: IO[bytes]) -> ResultsWriter:
    """Return a writer for a format; for CSV on a terminal it escapes control characters."""
    if as_format is OutputFormat.CSV and file.isatty():
        return CsvResults(safe)
    return results_writer(ExportFormat(as_format))


def _need_pyarrow() -> None:
    if not has_parquet():
        raise ConfigurationError(
            "Parquet needs pyarrow, which is not installed: pip install 'sluice[parquet]', or use --format csv"
        )
