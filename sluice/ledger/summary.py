"""A summary of a job's results: labels and scores. For a large job a sample is read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from sluice.ledger.connection import LedgerCursor

WHOLE: Final = 10_000
"""Up to so many results all are read; of more, a sample."""
STARTS: Final = 20
RUN: Final = 100
"""A sample consists of runs of so many consecutive results, spread evenly over the job."""
BARS: Final = 10
LABELS: Final = 50
"""Number of most frequent labels in the summary."""


@dataclass(frozen=True, slots=True)
class ResultsSummary:
    """How often each label and each range of scores occurs among the results that were read."""

    done: int
    """The job's results."""
    seen: int
    """Number of results that were read."""
    labels: tuple[tuple[str, int], ...]
    """Most frequent first."""
    scores: tuple[int, ...]
    """Equal ranges from 0 to 1."""


def summarize(cursor: LedgerCursor, job_id: int) -> ResultsSummary:
    """Return the labels and scores of a job; reads at most some thousand rows."""
    cursor.execute("SELECT COALESCE(SUM(done), 0) AS done FROM counters WHERE job_id = %s", (job_id,))
    row = cursor.fetchone()
    done = max(0, int(row["done"])) if row else 0
    counts = _all(cursor, job_id) if done <= WHOLE else _sample(cursor, job_id)
    labels, bars = Counter[str](), Counter[int]()
    for label, bar, count in counts:
        labels[label] += count
        bars[min(BARS - 1, max(0, bar))] += count
    # Equally frequent labels are in alphabetical order, so that the result is stable.
    frequent = sorted(labels.items(), key=lambda item: (-item[1], item[0]))[:LABELS]
    return ResultsSummary(done, labels.total(), tuple(frequent), tuple(bars[number] for number in range(BARS)))


def _all(cursor: LedgerCursor, job_id: int) -> list[tuple[str, int, int]]:
    return _counted(cursor, "(SELECT label, score FROM predictions FORCE INDEX (by_label) WHERE job_id = %s) p", job_id)


def _sample(cursor: LedgerCursor, job_id: int) -> list[tuple[str, int, int]]:
    first, last = (_end(cursor, job_id, direction) for direction in ("ASC", "DESC"))
    sampled: list[int] = []
    for number in range(STARTS):
        # If ids have a gap, a run begins after it, and the next run begins after that one.
        start = max(first + (last - first) * number // STARTS, sampled[-1] + 1 if sampled else first)
        cursor.execute(
            "SELECT id FROM objects FORCE INDEX (by_state) WHERE job_id = %s AND state = 'done' AND id >= %s "
            "ORDER BY id LIMIT %s",
            (job_id, start, RUN),
        )
        sampled += [row["id"] for row in cursor.fetchall()]
    return _counted(cursor, "predictions p FORCE INDEX (PRIMARY) WHERE p.object_id IN %s", sampled or [0])


def _counted(cursor: LedgerCursor, source: str, value: int | list[int]) -> list[tuple[str, int, int]]:
    """Return how often each label occurs in each range of scores."""
    cursor.execute(
        f"SELECT p.label, FLOOR(p.score * {BARS}) AS bar, COUNT(*) AS n FROM {source} GROUP BY p.label, bar", (value,)
    )
    return [(row["label"], int(row["bar"]), row["n"]) for row in cursor.fetchall()]


def _end(cursor: LedgerCursor, job_id: int, direction: str) -> int:
    cursor.execute(
        "SELECT id FROM objects FORCE INDEX (by_state) WHERE job_id = %s AND state = 'done' "
        f"ORDER BY id {direction} LIMIT 1",
        (job_id,),
    )
    row = cursor.fetchone()
    return int(row["id"]) if row else 0
