"""Checks the result of a storm: compares rows with objects by its own queries and `ledger.check`."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sluice import ledger
from sluice.ledger import Database, LedgerCursor
from tools.storm.pictures import key, picture

# Not the ledger's own code, which must not check itself.
ROWS = (
    "SELECT o.object_key AS name, o.deaths AS deaths, p.sha256 AS sha256 "
    "FROM predictions p JOIN objects o ON o.id = p.object_id WHERE o.job_id = %s"
)
# What is counted for drift, and what waits to be, of all jobs.
COUNTED = (
    "SELECT (SELECT COALESCE(SUM(JSON_LENGTH(pictures)), 0) FROM tallies) + "
    "(SELECT COALESCE(SUM(pictures), 0) FROM label_days) AS labels, "
    "(SELECT COALESCE(SUM(JSON_LENGTH(pictures)), 0) FROM tallies) + "
    "(SELECT COALESCE(SUM(pictures), 0) FROM picture_days WHERE statistic = 'brightness') AS measured, "
    "(SELECT COUNT(*) FROM predictions) AS predictions"
)


@dataclass
class Outcome:
    """The results of one run; it is good if there are no breaches."""

    seed: int
    objects: int
    seconds: float = 0.0
    blows: Counter[str] = field(default_factory=Counter)
    redelivered: int = 0
    suspects: int = 0
    """Objects that a consumer died with; `twice`: that two consumers died with, one short of quarantine."""
    twice: int = 0
    lost: int = 0
    duplicate: int = 0
    peak_mb: float = 0.0
    breaches: list[str] = field(default_factory=list)


def judge(database: Database, job: int, outcome: Outcome) -> None:
    """Add everything that is wrong to the outcome."""
    digests = {key(number).encode(): hashlib.sha256(picture(number)).digest() for number in range(outcome.objects)}
    rows = database.run(_rows, job)
    found = Counter(bytes(row["name"]) for row in rows)
    outcome.suspects = sum(row["deaths"] > 0 for row in rows)
    outcome.twice = sum(row["deaths"] > 1 for row in rows)
    outcome.lost = len(digests.keys() - found.keys())
    outcome.duplicate = sum(found.values()) - len(found)
    wrong = [row["name"] for row in rows if digests.get(bytes(row["name"])) != bytes(row["sha256"])]
    if outcome.lost or outcome.duplicate or wrong:
        outcome.breaches.append(f"{outcome.lost} lost, {outcome.duplicate} duplicate, of other bytes: {wrong[:5]}")
    progress = database.run(ledger.progress.progress, job)
    expected: Mapping[str, object] = {
        "state": "done",
        "listed": outcome.objects,
        "done": outcome.objects,
        "pending": 0,
        "quarantined": 0,
        "superseded": 0,
    }
    outcome.breaches += [
        f"{name} is {getattr(progress, name)}, not {value}"
        for name, value in expected.items()
        if getattr(progress, name) != value
    ]
    counted = database.run(_counted)
    if len(set(counted.values())) > 1:
        outcome.breaches.append(f"counted for drift: {counted}")
    outcome.breaches += [
        f"{breach.invariant}: {breach.count} {breach.sentence}, such as {breach.rows[:5]}"
        for breach in database.run(ledger.check.check)
    ]
    outcome.breaches += [
        f"quarantined {row.id}: {row.reason} ({row.detail})"
        for row in database.run(ledger.objects.list_quarantined, job, limit=5)
    ]


def _counted(cursor: LedgerCursor) -> dict[str, int]:
    cursor.execute(COUNTED)
    return {name: int(value) for name, value in (cursor.fetchone() or {}).items()}


def _rows(cursor: LedgerCursor, job: int) -> list[dict[str, Any]]:
    cursor.execute(ROWS, (job,))
    return list(cursor.fetchall())
