"""What of the tables differs between neighbouring releases: a column's current name, and whether a table is there.

Deaths of consumers are counted in `attempts` up to revision 0002, and in `deaths` from the next rename on; see
migrations/versions/0002_deaths.py. A release works on the tables of the previous and the next release, and tables
change while processes run. So each connection looks the name up, and again when the server reports an unknown column or
table. It also looks whether there is the table that each commit writes to, which the release before has not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pymysql.constants import ER
from pymysql.cursors import DictCursor

DEATHS_COLUMN: Final = "attempts"
"""The name if there are no tables yet, and in the tables that this release's `sluice db upgrade` creates."""
RENAMED: Final = frozenset(
    {
        ER.BAD_FIELD_ERROR,
        ER.NO_SUCH_TABLE,
        1906,  # MariaDB: the column is an alias; its other name must be written
        3105,  # MySQL: the same
    }
)
"""The server's errors for a name that was right before the tables changed."""
KNOWN: Final = """
    SELECT column_name AS name, (SELECT COUNT(*) FROM information_schema.tables
        WHERE table_schema = DATABASE() AND table_name = 'tallies') AS tallies
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'objects' AND column_name IN ('attempts', 'deaths')
    ORDER BY column_name LIMIT 1"""


@dataclass(frozen=True, slots=True)
class KnownTables:
    """What a connection knows of the tables: they may be those of a neighbouring release."""

    deaths_column: str = DEATHS_COLUMN
    """The column of `objects` that stores deaths."""
    has_tallies: bool = False
    """Whether commits leave what they measured; before revision 0009 there is no table for it."""


def find_tables(cursor: DictCursor) -> KnownTables | None:
    """Look at the tables; None: there are none."""
    cursor.execute(KNOWN)
    row = cursor.fetchone()
    return None if row is None else KnownTables(str(row["name"]), bool(row["tallies"]))


def has_table(cursor: DictCursor, name: str) -> bool:
    """Return whether the database has a table, which the release before didn't have."""
    cursor.execute(
        "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s", (name,)
    )
    return cursor.fetchone() is not None
