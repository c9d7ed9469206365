"""A job's results in pages, by key: a page continues in an index where the page before ended, and counts nothing.

Results are read in an index's order. A condition that the index doesn't cover (a part of the name, or a score when the
order is by label) is checked on each entry, for a bounded number of entries. So a page may have fewer rows than
requested, or none, and says where the next page continues.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sluice.ledger.connection import LedgerCursor
from sluice.ledger.predictions import make_result
from sluice.ledger.rows import Result

WALKED: Final = 4_000
"""Entries of an index that one page reads, at most."""
STRIDE: Final = 2_000
"""Entries that one query reads."""

Place = tuple[str | float, ...]
"""A position in a walk: the last entry's values in the columns of the order, then the object's id."""


class ResultsOrder(StrEnum):
    """The order of a job's results."""

    OBJECT = "object"
    """In the order of the listing."""
    SCORE = "score"
    """Lowest score first."""
    SCORE_DOWN = "-score"
    """Highest score first."""
    LABEL = "label"
    """By label, and within a label lowest score first."""


@dataclass(frozen=True, slots=True)
class ResultsFilter:
    """Which results to return; an empty field, or None, doesn't filter."""

    label: str = ""
    score_from: float | None = None
    score_to: float | None = None
    text: str = ""
    """A part of the name, case-insensitive."""


@dataclass(frozen=True, slots=True)
class FoundResult:
    """A result with the picture's name."""

    result: Result
    name: str


@dataclass(frozen=True, slots=True)
class ResultsPage:
    """Some results, and where the next page continues; None: there is none."""

    rows: list[FoundResult]
    next: Place | None


@dataclass(frozen=True, slots=True)
class _Walk:
    """An index, the range of it that is read, and the conditions that are checked on each entry."""

    table: str
    where: str
    values: tuple[object, ...]
    columns: tuple[str, ...]
    down: bool = False
    tried: str = ""
    tried_values: tuple[object, ...] = ()

    def steps(self, after: Place | None) -> Iterator[tuple[str, tuple[object, ...], tuple[str, ...]]]:
        """Yield the ranges that follow a position, one after the other: condition, values and order.

        One range per column: for (a, b) > (x, y) servers read the index from its beginning, and sort by constant
        columns.
        """
        if after is None:
            yield self.where, self.values, self.columns
            return
        sign = "<" if self.down else ">"
        for depth in reversed(range(len(self.columns))):
            equal = "".join(f" AND {column} = %s" for column in self.columns[:depth])
            condition = f"{self.where}{equal} AND {self.columns[depth]} {sign} %s"
            yield condition, (*self.values, *after[: depth + 1]), self.columns[depth:]

    def stride(self, cursor: LedgerCursor, after: Place | None, count: int) -> tuple[list[Place], Place | None]:
        """Return the matching ones of the next `count` entries, and the last entry read; None: there are no more."""
        direction = " DESC" if self.down else ""
        names = ", ".join(self.columns)
        found: list[Place] = []
        for where, values, columns in self.steps(after):
            order = ", ".join(f"{column}{direction}" for column in columns)
            run = f"SELECT {names} FROM {self.table} WHERE {where} ORDER BY {order} LIMIT %s"
            if not self.tried:
                found += self._places(cursor, run, (*values, count - len(found)))
                if len(found) == count:
                    return found, found[-1]
                continue
            fitting = (
                f"SELECT run.* FROM ({run}) run STRAIGHT_JOIN predictions p ON p.object_id = run.{self.columns[-1]} "
                f"STRAIGHT_JOIN objects o ON o.id = p.object_id LEFT JOIN pictures n ON n.object_id = o.id "
                f"WHERE {self.tried}"
            )
            found += sorted(self._places(cursor, fitting, (*values, count, *self.tried_values)), reverse=self.down)
            last = self._places(cursor, f"{run} OFFSET %s", (*values, 1, count - 1))
            if last:
                return found, last[0]
        return found, None

    def _places(self, cursor: LedgerCursor, statement: str, values: tuple[object, ...]) -> list[Place]:
        cursor.execute(statement, values)
        return [tuple(row[column] for column in self.columns) for row in cursor.fetchall()]


def results_page(
    cursor: LedgerCursor,
    job_id: int,
    order: ResultsOrder = ResultsOrder.OBJECT,
    wanted: ResultsFilter = ResultsFilter(),
    *,
    after: Place | None = None,
    limit: int = 100,
) -> ResultsPage:
    """Return the next results after a position."""
    walk = _walk(job_id, order, wanted)
    if walk.tried:  # several statements count the same entries
        cursor.hold_still()
    found: list[Place] = []
    walked, place = 0, after
    while True:
        # One more than requested shows whether there is a next page.
        some, place = walk.stride(cursor, place, STRIDE if walk.tried else limit + 1)
        found += some
        walked += STRIDE
        if len(found) > limit:
            found = found[:limit]
            place = found[-1]
            break
        if place is None or walked >= WALKED:
            break
    return ResultsPage(read_results(cursor, [int(entry[-1]) for entry in found]), place)


def columns_of(order: ResultsOrder, wanted: ResultsFilter) -> tuple[type, ...]:
    """Return the types of a position's values in this order, to validate cursors from outside."""
    kinds: dict[str, type] = {"label": str, "score": float, "id": int, "object_id": int}
    return tuple(kinds[column] for column in _walk(0, order, wanted).columns)


def read_results(cursor: LedgerCursor, ids: Sequence[int]) -> list[FoundResult]:
    """Return the results of objects, in the order of the ids; objects without a result are left out."""
    if not ids:
        return []
    # STRAIGHT_JOIN: with few jobs a server would begin with the jobs, and read every object of theirs.
    cursor.execute(
        "SELECT STRAIGHT_JOIN r.*, n.name FROM results r LEFT JOIN pictures n ON n.object_id = r.object_id "
        "WHERE r.object_id IN %s",
        (ids,),
    )
    rows = {row["object_id"]: _found(row) for row in cursor.fetchall()}
    return [rows[object_id] for object_id in ids if object_id in rows]


def _walk(job_id: int, order: ResultsOrder, wanted: ResultsFilter) -> _Walk:
    """Return the walk with this order; conditions that the index covers become part of the range."""
    label, label_values = (" AND label = %s", (wanted.label,)) if wanted.label else ("", ())
    score, score_values = _score_range(wanted)
    text, text_values = "", tuple[object, ...]()
    if wanted.text:
        name = "COALESCE(n.name, CONVERT(o.object_key USING utf8mb4)) COLLATE utf8mb4_general_ci"
        text, text_values = f" AND INSTR({name}, %s) > 0", (wanted.text,)
    if order is ResultsOrder.OBJECT:
        return _Walk(
            "objects FORCE INDEX (by_state)",
            "job_id = %s AND state = 'done'",
            (job_id,),
            ("id",),
            tried=_first(f"{label.replace('label', 'p.label')}{score.replace('score', 'p.score')}{text}"),
            tried_values=(*label_values, *score_values, *text_values),
        )
    if order is ResultsOrder.LABEL and not wanted.label:
        return _Walk(
            "predictions FORCE INDEX (by_label)",
            "job_id = %s",
            (job_id,),
            ("label", "score", "object_id"),
            tried=_first(f"{score.replace('score', 'p.score')}{text}"),
            tried_values=(*score_values, *text_values),
        )
    return _Walk(
        f"predictions FORCE INDEX ({'by_label' if wanted.label else 'by_score'})",
        f"job_id = %s{label}{score}",
        (job_id, *label_values, *score_values),
        ("score", "object_id"),
        down=order is ResultsOrder.SCORE_DOWN,
        tried=_first(text),
        tried_values=text_values,
    )


def _score_range(wanted: ResultsFilter) -> tuple[str, tuple[float, ...]]:
    bounds = [(">=", wanted.score_from), ("<=", wanted.score_to)]
    given = [(sign, bound) for sign, bound in bounds if bound is not None]
    return "".join(f" AND score {sign} %s" for sign, _ in given), tuple(bound for _, bound in given)


def _first(conditions: str) -> str:
    """Return conditions that each begin with AND as the beginning of a WHERE clause."""
    return conditions.removeprefix(" AND ")


def _found(row: dict[str, Any]) -> FoundResult:
    result = make_result(row)
    return FoundResult(result, row["name"] or name_of(result.url))


def name_of(url: str) -> str:
    """Return an object's name for people: the last part of its url."""
    return url.rpartition("/")[2] or url
