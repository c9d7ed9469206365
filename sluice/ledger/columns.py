"""What a column is called in the tables at hand, where neighbouring releases call it differently.

Deaths of consumers are counted in `attempts` up to revision 0002, and in `deaths` from the one that follows; see
migrations/versions/0002_deaths.py. A release works on the tables of the one before and of the one after it, and tables
change while processes run: so each connection looks the name up, and again when the server knows no such column.
"""

from __future__ import annotations

from typing import Final

from pymysql.constants import ER
from pymysql.cursors import DictCursor

DEATHS_COLUMN: Final = "attempts"
"""Its name where there are no tables yet, or those that this release's `sluice db upgrade` makes."""
RENAMED: Final = frozenset(
    {
        ER.BAD_FIELD_ERROR,
        1906,  # MariaDB: the column is an alias, and is written by its other name
        3105,  # MySQL: the same
    }
)
"""What the server says of a name that was right before the tables changed."""
WRITABLE: Final = """
    SELECT column_name AS name FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'objects' AND column_name IN ('attempts', 'deaths')
    ORDER BY column_name LIMIT 1"""


def find_deaths_column(cursor: DictCursor) -> str | None:
    """Return the column of `objects` in which deaths are written; None: there are no tables."""
    cursor.execute(WRITABLE)
    row = cursor.fetchone()
    return None if row is None else str(row["name"])
