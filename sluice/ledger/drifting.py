"""Counts what commits measured, window by window, and judges each whole window against its version's reference.

A window is so many pictures of one version of a model in the order in which they were committed, those that couldn't be
read among them: an alarm that counted days would come too late for a busy model, and too early for an idle one. After a
change at any picture, the next window but one is the latest that ends with changed pictures only. Whoever finds tallies
counts them, one at a time for each version: producers every two seconds, gateways every minute, `sluice drift` at once.

Jobs that repeat others (`--again`) are counted by day, and are in no window: what they take is chosen by somebody.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from sluice.drift import MeasuredPrediction, Statistic, WindowCounts, WindowFinding, bucket_name, compare, moved
from sluice.drift.counting import CountedValue
from sluice.drift.judging import LEAST_PICTURES
from sluice.ledger import references
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.references import DriftReference
from sluice.ledger.rows import shortened

TALLIES: Final = 100
"""Tallies that are counted in one transaction."""
SAMPLE: Final = 100
"""Pictures of a window that are kept until it is judged, chosen at random; an alarm shows those that moved it."""
WINDOWS: Final = 100
"""Windows of a version that are kept."""
REPORTS: Final = 100_000
"""The newest reports that are looked at, at most."""
DAYS_SWEPT: Final = 5_000
"""Rows of days that are over, deleted in one transaction."""
MOVED_MAX: Final = 1000


@dataclass(slots=True)
class OpenWindow:
    """The window of a version that isn't whole yet."""

    model_id: int
    number: int
    pictures: int
    counts: WindowCounts
    sample: list[list[Any]]
    reports_after: int

    def add(self, packed: list[Any], label: str, counted: list[CountedValue]) -> None:
        """Count a prediction, and keep it in the sample or not, by chance: each of the window has the same."""
        self.pictures += 1
        self.counts.add(label, counted)
        if len(self.sample) < SAMPLE:
            self.sample.append(packed)
        elif (place := random.randrange(self.pictures)) < SAMPLE:  # noqa: S311 - chooses pictures, guards nothing
            self.sample[place] = packed


@dataclass(slots=True)
class DayCounts:
    """What is added to the counts of days."""

    labels: dict[tuple[date, str, int], int] = field(default_factory=lambda: defaultdict(int))
    pictures: dict[tuple[date, str, int], list[float]] = field(default_factory=lambda: defaultdict(lambda: [0, 0.0]))

    def add(self, day: date, label: str, counted: list[CountedValue]) -> None:
        """Count a prediction."""
        for statistic, value, bucket in counted:
            if statistic is Statistic.SCORE:
                self.labels[day, label, bucket] += 1
            else:
                self.add_picture(day, statistic, bucket, 1, value)

    def add_picture(self, day: date, statistic: Statistic, bucket: int, count: int, total: float) -> None:
        """Add to a bucket of the pictures' statistics."""
        found = self.pictures[day, str(statistic), bucket]
        found[0] += count
        found[1] += total


def models_to_count(cursor: LedgerCursor) -> list[int]:
    """Return the versions that there are tallies of; none on the tables of a release without them."""
    if not cursor.has_tallies:
        return []
    cursor.execute("SELECT DISTINCT model_id FROM tallies FORCE INDEX (by_model)")
    return [int(row["model_id"]) for row in cursor.fetchall()]


def count(cursor: LedgerCursor, model_id: int, size: int, days: int) -> bool:
    """Count some tallies of a version in windows of `size`; return whether there may be more for this caller."""
    reference = references.lock(cursor, model_id)
    if reference is None:
        return False
    # Those of open transactions are locked: they come with the next call.
    cursor.execute(
        "SELECT id, job_id, pictures, undecodable, DATE(created) AS day FROM tallies FORCE INDEX (by_model) "
        "WHERE model_id = %s ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED",
        (model_id, TALLIES),
    )
    rows = cursor.fetchall()
    if not rows:
        return False
    chosen = _repetitions(cursor, {row["job_id"] for row in rows})
    by_day, window = DayCounts(), _open_window(cursor, model_id)
    for row in rows:
        if row["undecodable"]:
            by_day.add_picture(row["day"], Statistic.UNDECODABLE, 0, int(row["undecodable"]), 0.0)
        for packed in json.loads(row["pictures"]):
            prediction = MeasuredPrediction.unpack(packed)
            # Once for both: this is done for each picture of each model.
            label, counted = prediction.label, prediction.counted()
            by_day.add(row["day"], label, counted)
            if row["job_id"] not in chosen:
                window.add(packed, label, counted)
                window = _close_if_whole(cursor, window, reference, size, days)
        if row["job_id"] not in chosen:
            for _ in range(int(row["undecodable"])):
                window.pictures += 1
                _add_rate(window.counts, Statistic.UNDECODABLE, 1)
                window = _close_if_whole(cursor, window, reference, size, days)
    _keep(cursor, window)
    _add_days(cursor, model_id, by_day)
    cursor.execute("DELETE FROM tallies WHERE id IN %s", ([row["id"] for row in rows],))
    return True


def _repetitions(cursor: LedgerCursor, jobs: set[int]) -> set[int]:
    cursor.execute("SELECT id FROM jobs WHERE id IN %s AND again_of IS NOT NULL", (sorted(jobs),))
    return {int(row["id"]) for row in cursor.fetchall()}


def _open_window(cursor: LedgerCursor, model_id: int) -> OpenWindow:
    cursor.execute(
        "SELECT * FROM drift_windows FORCE INDEX (PRIMARY) WHERE model_id = %s ORDER BY window_no DESC LIMIT 1",
        (model_id,),
    )
    row = cursor.fetchone()
    if row is None or row["state"] != "open":
        return _next_window(cursor, model_id, int(row["window_no"]) + 1 if row else 1)
    counts = WindowCounts.unpack(json.loads(row["counts"]))
    sample = json.loads(row["sample"])
    return OpenWindow(model_id, row["window_no"], row["pictures"], counts, sample, row["reports_after"])


def _next_window(cursor: LedgerCursor, model_id: int, number: int) -> OpenWindow:
    cursor.execute("SELECT COALESCE(MAX(id), 0) AS newest FROM feedback")
    newest = int((cursor.fetchone() or {"newest": 0})["newest"])
    cursor.execute(
        "INSERT INTO drift_windows (model_id, window_no, counts, sample, reports_after) "
        "VALUES (%s, %s, '{}', '[]', %s)",
        (model_id, number, newest),
    )
    return OpenWindow(model_id, number, 0, WindowCounts(), [], newest)


def _keep(cursor: LedgerCursor, window: OpenWindow) -> None:
    cursor.execute(
        "UPDATE drift_windows SET pictures = %s, counts = %s, sample = %s WHERE model_id = %s AND window_no = %s",
        (
            window.pictures,
            json.dumps(window.counts.pack()),
            json.dumps(window.sample),
            window.model_id,
            window.number,
        ),
    )


def _add_rate(counts: WindowCounts, statistic: Statistic, more: int) -> None:
    part, whole = counts.rates.get(statistic, (0, 0))
    counts.rates[statistic] = part + more, whole


def _close_if_whole(
    cursor: LedgerCursor, window: OpenWindow, reference: DriftReference, size: int, days: int
) -> OpenWindow:
    """Judge a window that has all its pictures, and return the one that is open then."""
    if window.pictures < size:
        return window
    undecodable, _ = window.counts.rates.get(Statistic.UNDECODABLE, (0, 0))
    predicted = window.pictures - undecodable
    window.counts.rates = {
        Statistic.UNDECODABLE: (undecodable, window.pictures),
        Statistic.INCORRECT: (min(_incorrect(cursor, window), predicted), predicted),
    }
    findings = compare(reference.counts, window.counts)
    state = "alarm" if any(each.alarm for each in findings) else "calm"
    if state == "calm":
        window.sample = []
        # What is there of the version before stays; an alarm by it means that these pictures are no reference. Where
        # most answers were known by their content, pictures were measured too few: they come with a later window.
        if reference.counts.complete(window.counts, LEAST_PICTURES):
            state = "calm" if reference.is_frozen else "reference"
            references.freeze(cursor, reference, window.number)
    _keep(cursor, window)
    cursor.execute(
        "UPDATE drift_windows SET state = %s, ended = CURRENT_TIMESTAMP(3) WHERE model_id = %s AND window_no = %s",
        (state, window.model_id, window.number),
    )
    _tell(cursor, window, reference, findings)
    _sweep(cursor, window.model_id, window.number, days)
    return _next_window(cursor, window.model_id, window.number + 1)


def _incorrect(cursor: LedgerCursor, window: OpenWindow) -> int:
    """Count the reports since the window began that name another label than this version did."""
    cursor.execute(
        "SELECT COUNT(*) AS wrong FROM (SELECT object_id, label FROM feedback FORCE INDEX (PRIMARY) WHERE id > %s "
        "ORDER BY id DESC LIMIT %s) f STRAIGHT_JOIN predictions p ON p.object_id = f.object_id "
        "WHERE p.model_id = %s AND f.label <> p.label AND f.label <> ''",
        (window.reports_after, REPORTS, window.model_id),
    )
    return int((cursor.fetchone() or {"wrong": 0})["wrong"])


def _tell(cursor: LedgerCursor, window: OpenWindow, reference: DriftReference, findings: list[WindowFinding]) -> None:
    cursor.executemany(
        "INSERT INTO drift_findings (model_id, window_no, statistic, psi, beyond, before_value, now_value, pictures, "
        "alarm, moved) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [
            (
                window.model_id,
                window.number,
                str(each.statistic),
                each.psi,
                each.beyond,
                each.before,
                each.now,
                each.pictures,
                each.alarm,
                shortened(_moved(reference.counts, window.counts, each), MOVED_MAX),
            )
            for each in findings
        ],
    )


def _moved(reference: WindowCounts, window: WindowCounts, finding: WindowFinding) -> str:
    """Say which shares grew most; nothing where there is no alarm."""
    if not finding.alarm:
        return ""
    told = []
    for bucket in moved(reference, window, finding.statistic):
        shares = [
            100 * counts.buckets[finding.statistic][bucket] / counts.total(finding.statistic)
            for counts in (reference, window)
        ]
        told.append(f"{bucket_name(finding.statistic, bucket)}: {shares[0]:.1f} % to {shares[1]:.1f} %")
    return ", ".join(told)


def _add_days(cursor: LedgerCursor, model_id: int, counts: DayCounts) -> None:
    cursor.executemany(
        "INSERT INTO label_days (model_id, day, label, score_bucket, pictures) VALUES (%s, %s, %s, %s, %s) "
        "ON DUPLICATE KEY UPDATE pictures = pictures + VALUES(pictures)",
        [(model_id, *place, number) for place, number in sorted(counts.labels.items())],
    )
    cursor.executemany(
        "INSERT INTO picture_days (model_id, day, statistic, bucket, pictures, total) VALUES (%s, %s, %s, %s, %s, %s) "
        "ON DUPLICATE KEY UPDATE pictures = pictures + VALUES(pictures), total = total + VALUES(total)",
        [(model_id, *place, *numbers) for place, numbers in sorted(counts.pictures.items())],
    )


def _sweep(cursor: LedgerCursor, model_id: int, newest: int, days: int) -> None:
    """Delete old windows and some rows of days that are over."""
    for table in ("drift_findings", "drift_windows"):
        cursor.execute(
            f"DELETE FROM {table} WHERE model_id = %s AND window_no <= %s",
            (model_id, newest - WINDOWS),
        )
    for table in ("label_days", "picture_days"):
        cursor.execute(
            f"DELETE FROM {table} WHERE model_id = %s AND day < CURRENT_DATE - INTERVAL %s DAY ORDER BY day LIMIT %s",
            (model_id, days, DAYS_SWEPT),
        )
