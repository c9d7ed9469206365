"""The tables of a server's databases: made by the migrations once, in each later database as those left them.

Running all migrations takes much longer than creating what they lead to.
"""

from __future__ import annotations

import re
from graphlib import TopologicalSorter
from typing import Any, Final

from sluice.ledger import Database, LedgerCursor, schema
from sluice.settings import Settings

READ_FROM: Final = re.compile(r"\b(?:from|join) \(*`(\w+)`", re.IGNORECASE)


class TableCopies:
    """Makes the newest tables in empty databases of one server."""

    def __init__(self) -> None:
        self._statements: list[str] = []

    def make(self, settings: Settings) -> None:
        """Make them in the empty database that the settings name."""
        with Database(settings) as database:
            if self._statements:
                # Not repeated: a statement may have been carried out although its answer was lost.
                database.try_once(self._create)
            else:
                schema.upgrade(settings)
                self._statements = database.run(_statements)

    def _create(self, cursor: LedgerCursor) -> None:
        cursor.execute("SET SESSION foreign_key_checks = 0")
        for statement in self._statements:
            cursor.execute(statement)


def _statements(cursor: LedgerCursor) -> list[str]:
    """Return what creates a database's tables with their rows, and its views, each after those that it reads."""
    cursor.execute("SHOW FULL TABLES")
    kinds = [tuple(row.values()) for row in cursor.fetchall()]
    found: list[str] = []
    views: dict[str, str] = {}
    for name, kind in kinds:
        if kind == "VIEW":
            views[name] = _only(cursor, f"SHOW CREATE VIEW `{name}`")["Create View"]
            continue
        found.append(_only(cursor, f"SHOW CREATE TABLE `{name}`")["Create Table"])
        cursor.execute(f"SELECT * FROM `{name}`")  # noqa: S608 - the name of a table that is there
        for row in cursor.fetchall():
            values = ", ".join(cursor.mogrify("%s", (value,)) for value in row.values())
            found.append(f"INSERT INTO `{name}` VALUES ({values})")  # noqa: S608 - the same
    reads = {name: set(READ_FROM.findall(made)) & views.keys() for name, made in views.items()}
    return [*found, *(views[name] for name in TopologicalSorter(reads).static_order())]


def _only(cursor: LedgerCursor, statement: str) -> dict[str, Any]:
    cursor.execute(statement)
    (row,) = cursor.fetchall()
    return row
