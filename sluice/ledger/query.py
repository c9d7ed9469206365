"""A person's own SQL, unchanged; all other SQL in this package is Sluice's."""

from __future__ import annotations

from dataclasses import dataclass

import pymysql
from pymysql.constants import CR
from pymysql.cursors import Cursor

from sluice.errors import LedgerError
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.faults import code_of, describe


@dataclass(frozen=True, slots=True)
class StatementResult:
    """The result of one statement: rows under columns, or the number of changed rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    changed: int


def ask(cursor: LedgerCursor, statement: str) -> StatementResult:
    """Run one statement; errors have the database's own message."""
    # A plain cursor, since columns may have the same name.
    with cursor.connection.cursor(Cursor) as plain:
        try:
            plain.execute(statement)
        except pymysql.MySQLError as error:
            raise _refusal(error) from error
        if plain.description is None:
            return StatementResult((), (), plain.rowcount)
        return StatementResult(tuple(column[0] for column in plain.description), plain.fetchall(), 0)


def _refusal(error: pymysql.MySQLError) -> LedgerError:
    """Return the error for a person's statement; Sluice's own advice only fits its own statements."""
    if code_of(error) == CR.CR_SERVER_LOST:
        return LedgerError(
            f"the database gave no answer in time, or the connection was lost ({describe(error)}): whether the "
            "statement took effect is unknown; give a long one more time with SLUICE_DATABASE_TIMEOUT"
        )
    return LedgerError(f"the database refused the statement ({describe(error)})")
