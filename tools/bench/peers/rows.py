"""The table that peers write to: made before each run, read after it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Final

from tools.bench.peers.task import TABLE, Task

CREATE: Final = (
    f"CREATE TABLE {TABLE} (url VARCHAR(255) NOT NULL PRIMARY KEY, label VARCHAR(255) NOT NULL, "
    "score DOUBLE NOT NULL, fetched DOUBLE NOT NULL, "
    "committed TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6))"
)
SELECT: Final = (
    "SELECT url, label, score, fetched, UNIX_TIMESTAMP(committed) "  # noqa: S608 - constants
    f"FROM {TABLE} ORDER BY committed, url"
)


@dataclass(frozen=True)
class LabelRow:
    """A photo's row; moments are seconds since 1970, that of the commit is when the row was inserted just before."""

    url: str
    label: str
    score: float
    fetched: float
    committed: float


def create_table(task: Task) -> None:
    """Create it, empty."""
    with closing(task.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(CREATE)


def read_rows(task: Task) -> list[LabelRow]:
    """Return all rows in the order in which they came."""
    with closing(task.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(SELECT)
        return [
            LabelRow(url, label, score, fetched, float(committed))
            for url, label, score, fetched, committed in cursor.fetchall()
        ]
