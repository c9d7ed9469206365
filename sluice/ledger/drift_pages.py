"""What is told of drift: the last whole window of each version, those before it, and the pictures that moved it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sluice.drift import MeasuredPrediction, Statistic, WindowCounts, moved
from sluice.errors import TablesMissing
from sluice.ledger.browse import FoundResult, read_results
from sluice.ledger.connection import LedgerCursor

SHOWN: Final = 12
"""Pictures that are shown of what moved a statistic, at most."""


@dataclass(frozen=True, slots=True)
class DriftFinding:
    """What was found of one statistic of one window: a row of the view `drift`, or of an earlier window."""

    model: str
    model_id: int
    window_no: int
    statistic: str
    alarm: bool
    psi: float
    beyond: float
    before: float | None
    now: float | None
    moved: str


@dataclass(frozen=True, slots=True)
class WatchedVersion:
    """A version that something was counted of."""

    model_id: int
    model: str
    live: bool
    is_frozen: bool
    collected: int
    """Pictures in its open window."""
    window_no: int | None
    """Its last whole window; None: there is none since its reference began."""
    ended: datetime | None
    findings: list[DriftFinding]

    @property
    def state(self) -> str:
        """Return `alarm`, `calm`, or `collecting` until there is a whole window to compare with."""
        if any(each.alarm for each in self.findings):
            return "alarm"
        return "calm" if self.is_frozen and self.findings else "collecting"


@dataclass(frozen=True, slots=True)
class DriftSide:
    """The counts of a statistic in a reference and in a window."""

    before: WindowCounts
    now: WindowCounts


def live(cursor: LedgerCursor) -> list[DriftFinding]:
    """Return what was found of the last windows of live versions."""
    if not cursor.has_tallies:
        return []
    cursor.execute("SELECT * FROM drift WHERE live = 1 AND statistic IS NOT NULL ORDER BY model_id, statistic")
    return [_finding(row) for row in cursor.fetchall()]


def versions(cursor: LedgerCursor, model_id: int | None = None) -> list[WatchedVersion]:
    """Return all versions that something was counted of, or one; alarms first, then what is live."""
    _check(cursor)
    where, values = ("", ()) if model_id is None else (" WHERE d.model_id = %s", (model_id,))
    cursor.execute(
        "SELECT d.*, COALESCE(o.pictures, 0) AS collected FROM drift d "
        f"LEFT JOIN drift_windows o ON o.model_id = d.model_id AND o.state = 'open'{where} "
        "ORDER BY d.model_id, d.statistic",
        values,
    )
    by_model: dict[int, list[dict[str, Any]]] = {}
    for row in cursor.fetchall():
        by_model.setdefault(row["model_id"], []).append(row)
    found = [
        WatchedVersion(
            number,
            rows[0]["model"],
            bool(rows[0]["live"]),
            rows[0]["reference"] == "frozen",
            rows[0]["collected"],
            rows[0]["window_no"],
            rows[0]["ended"],
            sorted((_finding(row) for row in rows if row["statistic"] is not None), key=_in_order),
        )
        for number, rows in by_model.items()
    ]
    return sorted(found, key=lambda each: (each.state != "alarm", not each.live, each.model_id))


def history(cursor: LedgerCursor, model_id: int) -> list[DriftFinding]:
    """Return what was found in the windows of a version that are kept, by statistic, the oldest first."""
    _check(cursor)
    cursor.execute(
        "SELECT f.*, CONCAT(m.name, '@', m.version) AS model FROM drift_findings f JOIN models m ON m.id = f.model_id "
        "WHERE f.model_id = %s ORDER BY f.statistic, f.window_no",
        (model_id,),
    )
    return [_finding(row) for row in cursor.fetchall()]


def sides(cursor: LedgerCursor, model_id: int, window_no: int) -> DriftSide | None:
    """Return the counts of a version's reference and of one of its windows."""
    cursor.execute(
        "SELECT r.counts AS reference, w.counts AS counts FROM drift_references r "
        "JOIN drift_windows w ON w.model_id = r.model_id WHERE r.model_id = %s AND w.window_no = %s",
        (model_id, window_no),
    )
    row = cursor.fetchone()
    if row is None:
        return None
    return DriftSide(*(WindowCounts.unpack(json.loads(row[name])) for name in ("reference", "counts")))


def pictures(cursor: LedgerCursor, finding: DriftFinding, most: int = SHOWN) -> list[FoundResult]:
    """Return pictures of a window that fell into the buckets that grew most; those that are gone are left out."""
    compared = sides(cursor, finding.model_id, finding.window_no)
    if compared is None or not finding.alarm:
        return []
    statistic = Statistic(finding.statistic)
    cursor.execute(
        "SELECT sample FROM drift_windows WHERE model_id = %s AND window_no = %s", (finding.model_id, finding.window_no)
    )
    row = cursor.fetchone() or {"sample": "[]"}
    grown = set(moved(compared.before, compared.now, statistic))
    sample = [MeasuredPrediction.unpack(packed) for packed in json.loads(row["sample"])]
    ids = list(dict.fromkeys(each.object_id for each in sample if each.buckets().get(statistic) in grown))[:most]
    return read_results(cursor, ids) if ids else []


def _check(cursor: LedgerCursor) -> None:
    if not cursor.has_tallies:
        raise TablesMissing("the tables are those of an older version: run `sluice db upgrade` to have drift noticed")


def _in_order(finding: DriftFinding) -> int:
    known = [str(each) for each in Statistic]
    return known.index(finding.statistic) if finding.statistic in known else len(known)


def _finding(row: dict[str, Any]) -> DriftFinding:
    return DriftFinding(
        row["model"],
        row["model_id"],
        row["window_no"],
        row["statistic"],
        row["alarm"] == 1 if "alarm" in row else row["state"] == "alarm",
        row["psi"],
        row["beyond"],
        row["before_value"],
        row["now_value"],
        row["moved"],
    )
