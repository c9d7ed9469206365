"""A person's own SQL, as it was typed; everything else in this package is the project's."""

from __future__ import annotations

from dataclasses import dataclass

from sluice.ledger.connection import LedgerCursor


@dataclass(frozen=True, slots=True)
class StatementResult:
    """What the database says to one statement: rows under columns, or how many rows it changed."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    changed: int


def ask(cursor: LedgerCursor, statement: str) -> StatementResult:
    """Run one statement."""
    cursor.execute(statement)
    if cursor.description is None:
        return StatementResult((), (), cursor.rowcount)
    columns = tuple(column[0] for column in cursor.description)
    return StatementResult(columns, tuple(tuple(row.values()) for row in cursor.fetchall()), 0)
