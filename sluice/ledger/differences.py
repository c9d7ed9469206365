"""What a comparison of two jobs found: a summary, and the objects that differ, the largest changes first, in pages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sluice.ledger.browse import name_of
from sluice.ledger.comparisons import Comparison
from sluice.ledger.connection import LedgerCursor

PAIRS: Final = 100
"""Number of most frequent pairs of labels in a summary."""

DifferencePlace = tuple[float, int, int]
"""A position in the pages: size and the two objects of the last difference."""


class DifferenceKind(StrEnum):
    """How two predictions for one key differ."""

    CHANGED = "changed"
    """They have another label."""
    GONE = "gone"
    """Only the first job has one."""
    NEW = "new"
    """Only the second job has one."""


@dataclass(frozen=True, slots=True)
class LabelPair:
    """How many objects went from one label to another; an empty label stands for no prediction."""

    kind: DifferenceKind
    before: str
    after: str
    objects: int


@dataclass(frozen=True, slots=True)
class ComparisonSummary:
    """How many objects each kind has."""

    same: int
    changed: int
    gone: int
    new: int
    pairs: tuple[LabelPair, ...]
    """The most frequent of each kind."""


@dataclass(frozen=True, slots=True)
class ShownPrediction:
    """One of the two predictions of a difference."""

    object_id: int
    label: str
    score: float
    model: str


@dataclass(frozen=True, slots=True)
class Difference:
    """An object that differs; before or after is None where there was no prediction, or it is gone since."""

    kind: DifferenceKind
    url: str
    name: str
    size: float
    before: ShownPrediction | None
    after: ShownPrediction | None


@dataclass(frozen=True, slots=True)
class DifferencesPage:
    """Some differences, and where the next page goes on; None: there is none."""

    rows: list[Difference]
    next: DifferencePlace | None


def summarize_comparison(cursor: LedgerCursor, comparison: Comparison) -> ComparisonSummary:
    """Return what a complete comparison found; reads its pairs of labels alone."""
    cursor.execute(
        "SELECT kind, SUM(objects) AS objects FROM comparison_pairs FORCE INDEX (by_count) WHERE comparison_id = %s "
        "GROUP BY kind",
        (comparison.id,),
    )
    counts = {row["kind"]: int(row["objects"]) for row in cursor.fetchall()}
    pairs: list[LabelPair] = []
    for kind in DifferenceKind:
        cursor.execute(
            "SELECT before_label, after_label, objects FROM comparison_pairs FORCE INDEX (by_count) "
            "WHERE comparison_id = %s AND kind = %s ORDER BY objects DESC LIMIT %s",
            (comparison.id, kind, PAIRS),
        )
        pairs += [LabelPair(kind, r["before_label"], r["after_label"], int(r["objects"])) for r in cursor.fetchall()]
    cursor.execute("SELECT before_done FROM comparisons WHERE id = %s", (comparison.id,))
    row = cursor.fetchone()
    changed, gone, new = (counts.get(kind, 0) for kind in DifferenceKind)
    same = max(0, int(row["before_done"] if row else 0) - changed - gone)
    return ComparisonSummary(same, changed, gone, new, tuple(pairs))


def differences_page(
    cursor: LedgerCursor,
    comparison: Comparison,
    kind: DifferenceKind,
    pair: tuple[str, str] | None = None,
    *,
    after: DifferencePlace | None = None,
    limit: int = 100,
) -> DifferencesPage:
    """Return the next differences of a kind, or of a pair of labels, after a position; the largest first."""
    index, where, values = "PRIMARY", "comparison_id = %s AND kind = %s", tuple[object, ...]((comparison.id, kind))
    if pair is not None:
        index, where, values = "by_pair", f"{where} AND before_label = %s AND after_label = %s", (*values, *pair)
    found: list[DifferencePlace] = []
    for step, step_values in _steps(after):
        cursor.execute(
            f"SELECT size, before_id, after_id FROM differences FORCE INDEX ({index}) WHERE {where}{step} "
            "ORDER BY size DESC, before_id DESC, after_id DESC LIMIT %s",
            (*values, *step_values, limit + 1 - len(found)),
        )
        found += [(row["size"], row["before_id"], row["after_id"]) for row in cursor.fetchall()]
        if len(found) > limit:
            break
    following = found[limit - 1] if len(found) > limit else None
    return DifferencesPage(_shown(cursor, kind, found[:limit]), following)


def _steps(after: DifferencePlace | None) -> list[tuple[str, tuple[object, ...]]]:
    """Return the ranges that follow a position, one for each column, as in `browse`."""
    if after is None:
        return [("", ())]
    size, before_id, after_id = after
    return [
        (" AND size = %s AND before_id = %s AND after_id < %s", (size, before_id, after_id)),
        (" AND size = %s AND before_id < %s", (size, before_id)),
        (" AND size < %s", (size,)),
    ]


def _shown(cursor: LedgerCursor, kind: DifferenceKind, places: list[DifferencePlace]) -> list[Difference]:
    ids = sorted({object_id for place in places for object_id in place[1:] if object_id})
    rows: dict[int, dict[str, Any]] = {}
    if ids:
        # STRAIGHT_JOIN: with few jobs a server would begin with the jobs, and read every object of theirs.
        cursor.execute(
            "SELECT STRAIGHT_JOIN r.*, n.name FROM results r LEFT JOIN pictures n ON n.object_id = r.object_id "
            "WHERE r.object_id IN %s",
            (ids,),
        )
        rows = {row["object_id"]: row for row in cursor.fetchall()}
    shown = []
    for size, before_id, after_id in places:
        some = rows.get(after_id) or rows.get(before_id)
        if some is None:
            continue  # superseded or pruned since
        before, after = (_prediction(rows.get(object_id)) for object_id in (before_id, after_id))
        shown.append(Difference(kind, some["url"], some["name"] or name_of(some["url"]), size, before, after))
    return shown


def _prediction(row: dict[str, Any] | None) -> ShownPrediction | None:
    return None if row is None else ShownPrediction(row["object_id"], row["label"], row["score"], row["model"])
