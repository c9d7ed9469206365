"""`sluice sql`: sends one statement to the database, for places without a database client."""

from __future__ import annotations

import csv
import sys
from typing import Annotated, Final

import typer
from rich.table import Table

from sluice.cli.connect import open_database
from sluice.cli.screen import console, counted, safe
from sluice.exports import disarmed
from sluice.ledger import query

EXAMPLES: Final = """\
Examples:

  sluice sql 'SELECT * FROM job_progress'
  sluice sql 'SELECT label, COUNT(*) FROM results GROUP BY label ORDER BY 2 DESC LIMIT 10'
  sluice sql --csv 'SELECT url, reason FROM images WHERE flag = 0' > bad.csv
  sluice sql 'UPDATE jobs SET priority = 10 WHERE id = 7'

All rows are held in memory: use a LIMIT, or `sluice results` for a whole job."""


def sql(
    statement: Annotated[str, typer.Argument(help="One SQL statement.")],
    as_csv: Annotated[bool, typer.Option("--csv", help="Write CSV instead of a table.")] = False,
) -> None:
    """Run one SQL statement and show its result.

    In CSV, text that a spreadsheet would read as a formula is prefixed
    with '.
    """
    with open_database() as database:
        # Not retried: a person's statement may not be idempotent.
        said = database.try_once(query.ask, statement)
    if not said.columns:
        print(f"{counted(said.changed, 'row')} changed")
    elif as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerows([_shown(disarmed(_text(value))) for value in row] for row in (said.columns, *said.rows))
    else:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name in said.columns:
            table.add_column(safe(name), overflow="fold")
        for row in said.rows:
            table.add_row(*(_shown(_text(value)) for value in row))
        console().print(table)


def _text(value: object) -> object:
    """Return keys and other bytes as text, everything else unchanged."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value


def _shown(value: object) -> str:
    return "NULL" if value is None else safe(value)
