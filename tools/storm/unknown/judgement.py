"""Compares the rows with the journal, using its own SQL and hashes, and none of Sluice's code."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from tools.storm.unknown.arrivals import Submitted
from tools.storm.unknown.journal import GONE, Journal, Writing

CHANGES: Final = 3
CHANGES_WITHIN: Final = 30.0
"""An object may be quarantined as changing if it changed that often within so many seconds."""

ROWS: Final = (
    "SELECT o.id, o.job_id, o.repeat_no, o.object_key, o.generation, o.etag, o.state, o.reason, o.detail, o.deaths, "
    "p.sha256, p.job_id AS p_job FROM objects o LEFT JOIN predictions p ON p.object_id = o.id ORDER BY o.id"
)
ORPHANS: Final = (
    "SELECT p.object_id FROM predictions p LEFT JOIN objects o ON o.id = p.object_id WHERE o.id IS NULL LIMIT 20"
)
COUNTERS: Final = (
    "SELECT job_id, SUM(listed) AS listed, SUM(done) AS done, SUM(quarantined) AS quarantined, "
    "SUM(superseded) AS superseded FROM counters GROUP BY job_id"
)
JOBS: Final = "SELECT id, source, state, watch, message FROM jobs ORDER BY id"
QUESTIONS: Final = {"rows": ROWS, "orphans": ORPHANS, "counters": COUNTERS, "jobs": JOBS}

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """An error, with its kind and details."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class Judge:
    """Checks the result after all work has finished."""

    def __init__(self, journal: Journal, jobs: Sequence[Submitted], tables: Mapping[str, Sequence[Row]]) -> None:
        self._journal = journal
        self._jobs = jobs
        self._tables = tables
        self._standing: dict[tuple[int, bytes], list[Row]] = defaultdict(list)
        for row in tables["rows"]:
            if row["state"] != "superseded":
                self._standing[row["job_id"], bytes(row["object_key"])].append(row)

    def findings(self) -> list[Finding]:
        """Return everything that is wrong."""
        found = [Finding("orphan", f"prediction of no object: {row}") for row in self._tables["orphans"]]
        for row in self._tables["rows"]:
            found += self._judge_row(row)
        for job in self._jobs:
            found += self._judge_job(job)
        return [*found, *self._judge_counters()]

    def missing(self, watch: Submitted) -> list[bytes]:
        """Return the keys of the watch job whose last version has no row yet, or only a pending one."""
        return [key for key in self._journal.list_keys(watch.prefix) if any(self._judge_last(watch, key))]

    def _judge_row(self, row: Row) -> Iterable[Finding]:
        """Check a row by itself."""
        key, what = bytes(row["object_key"]), _name(row)
        writings = self._journal.of(key)
        versions = [writing for writing in writings if writing.etag == row["etag"] and writing.etag != GONE]
        if not versions:
            yield Finding("stranger", f"{what}: nobody wrote this key with this ETag")
        if (row["state"] == "done") != (row["sha256"] is not None):
            yield Finding("half", f"{what}: {'no' if row['sha256'] is None else 'a'} prediction")
        if row["sha256"] is not None and versions and bytes(row["sha256"]) not in {each.sha256 for each in versions}:
            yield Finding("wrong bytes", f"{what}: SHA-256 {bytes(row['sha256']).hex()} is of other bytes")
        if row["state"] == "pending":
            yield Finding("lost", f"{what}: still pending")
        if row["state"] == "superseded" and len(writings) == 1:
            yield Finding("lost", f"{what}: superseded, although the key never changed")
        if row["state"] == "done" and versions and all(each.content and each.content.reasons for each in versions):
            yield Finding("wrong bytes", f"{what}: has a prediction, although its bytes are no picture")

    def _judge_job(self, job: Submitted) -> Iterable[Finding]:
        """Check that each key of a job has the one row that it must have."""
        state = next(row for row in self._tables["jobs"] if row["id"] == job.job)
        if state["state"] != ("running" if job.watch else "done"):
            yield Finding("job", f"{job.job} is {state['state']}: {state['message']}")
        for key in self._journal.list_keys(job.prefix):
            rows = self._standing.get((job.job, key), [])
            if len(rows) > 1:
                yield Finding(
                    "doubled", f"job {job.job} has {len(rows)} rows of one key: {[_name(row) for row in rows]}"
                )
            elif job.watch:
                yield from self._judge_last(job, key)
            else:
                yield from self._judge_window(job, key, rows)

    def _judge_window(self, job: Submitted, key: bytes, rows: Sequence[Row]) -> Iterable[Finding]:
        """Check that a finished job has a row of a version that the key had while it ran."""
        alive = self._journal.alive(key, job.since, job.until)
        etags = {writing.etag for writing in alive}
        if not rows:
            if etags and GONE not in etags and self._journal.of(key)[0].ended < job.since:
                yield Finding("lost", f"job {job.job} has no row of {key!r}, which was there all the time: {etags}")
            return
        (row,) = rows
        if row["etag"] not in etags:
            yield Finding("stale", f"{_name(row)}: while the job ran, the key had {_told(alive)}")
        yield from self._judge_state(row, alive)

    def _judge_last(self, job: Submitted, key: bytes) -> Iterable[Finding]:
        """Check that a watch job has a row of the version that the key has at the end."""
        last = self._journal.last(key)
        rows = self._standing.get((job.job, key), [])
        if last is None or last.etag == GONE:
            return
        if not rows:
            yield Finding("lost", f"watch job {job.job} has no row of {key!r}: {last.etag}")
            return
        (row, *_) = rows
        if row["etag"] != last.etag:
            yield Finding("stale", f"{_name(row)}: the key has {last.etag} by now")
        elif row["state"] == "pending":
            yield Finding("lost", f"{_name(row)}: still pending")
        else:
            yield from self._judge_state(row, [last])

    def _judge_state(self, row: Row, alive: Sequence[Writing]) -> Iterable[Finding]:
        """Check that a quarantined object deserved it."""
        if row["state"] != "quarantined":
            return
        reasons = {reason for each in alive if each.content for reason in each.content.reasons}
        if any(each.etag == GONE for each in alive):
            reasons.add("not_found")
        if self._changed_often(bytes(row["object_key"])):
            reasons.add("changing")
        if row["reason"] not in reasons:
            told = f"{row['reason']} ({row['detail']}), allowed were {sorted(reasons) or 'none'}"
            yield Finding("innocent", f"{_name(row)}: quarantined as {told}; the key had {_told(alive)}")

    def _changed_often(self, key: bytes) -> bool:
        begun = [writing.begun for writing in self._journal.of(key)[1:]]
        return any(
            later - earlier < CHANGES_WITHIN for earlier, later in zip(begun, begun[CHANGES - 1 :], strict=False)
        )

    def _judge_counters(self) -> Iterable[Finding]:
        """Check that the counters equal the counts."""
        counts: dict[int, Counter[str]] = defaultdict(Counter)
        for row in self._tables["rows"]:
            counts[row["job_id"]].update([row["state"], "listed"])
        counters = {row["job_id"]: row for row in self._tables["counters"]}
        for job in sorted(counts.keys() | counters.keys()):
            for name in ("listed", "done", "quarantined", "superseded"):
                said = int(counters[job][name]) if job in counters else 0
                if said != counts[job][name]:
                    yield Finding("counter", f"job {job}: {name} is {said}, counted are {counts[job][name]}")


def compare_bucket(journal: Journal, bucket: Mapping[bytes, tuple[str, bytes]]) -> list[Finding]:
    """Check that the storm's own journal matches the bucket."""
    found = []
    for key in {*journal.list_keys(), *bucket}:
        last = journal.last(key)
        said = (last.etag, last.sha256) if last and last.etag != GONE else None
        if said != bucket.get(key):
            found.append(Finding("journal", f"{key!r} has {bucket.get(key)}, the journal says {said}"))
    return found


def _name(row: Row) -> str:
    return (
        f"object {row['id']} of job {row['job_id']} ({bytes(row['object_key'])!r}, generation {row['generation']}, "
        f"ETag {row['etag']}, {row['state']}, {row['deaths']} deaths)"
    )


def _told(writings: Sequence[Writing]) -> str:
    return ", ".join(
        f"{each.etag or 'nothing'} (written at {each.begun:.1f} to {each.ended if each.ended != inf else 0:.1f})"
        for each in writings
    )
