"""Runs random operations of producers, consumers and people on the ledger and on a model of it in memory.

After each step the counters, the pending objects and the results must equal the model's, and all invariants hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sluice.domain import ListedObject
from sluice.errors import LedgerError
from sluice.ledger import (
    Database,
    LedgerCursor,
    PageChanges,
    PendingObject,
    QuarantineEntry,
    check,
    jobs,
    listing,
    objects,
    predictions,
    progress,
)
from tests.support.ledger_rows import SOURCE, prediction, register

KEYS = [b"a", b"A", b"a ", b"a\x00", b"b/../c", "ü".encode(), b"\xff", b"z" * 1024]
JOBS = 2
SHARDS = 3

pages = st.dictionaries(st.sampled_from(KEYS), st.sampled_from("123"), max_size=len(KEYS))
picks = st.lists(st.integers(0, 40), max_size=8)
which = st.integers(0, JOBS - 1)


@dataclass
class Row:
    """An object in the model."""

    id: int
    job: int
    key: bytes
    etag: str
    state: str = "pending"
    reason: str = ""
    deaths: int = 0
    label: str = ""


@dataclass
class ModelledJob:
    """A job in the model; `newest` has the last row of each key."""

    id: int
    state: str = "pending"
    started: bool = False
    complete: bool = False
    rows: list[Row] = field(default_factory=list)
    newest: dict[bytes, Row] = field(default_factory=dict)

    def count(self, state: str) -> int:
        return sum(row.state == state for row in self.rows)


class LedgerMachine(RuleBasedStateMachine):
    """The possible operations, each done in the ledger and in the model."""

    def __init__(self, ledger: Database) -> None:
        super().__init__()
        self.ledger = ledger
        self.jobs: list[ModelledJob] = []

    @initialize()
    def begin(self) -> None:
        for table in ("objects", "predictions", "jobs", "counters", "listings"):
            self.ledger.run(lambda c, table=table: c.execute(f"DELETE FROM {table}"))  # type: ignore[misc]
        self.ledger.run(register)
        for _ in range(JOBS):
            self.jobs.append(ModelledJob(self.ledger.run(jobs.submit, SOURCE)))
        self.start(0)

    @property
    def rows(self) -> list[Row]:
        return sorted((row for job in self.jobs for row in job.rows), key=lambda row: row.id)

    def chosen(self, numbers: list[int]) -> list[Row]:
        """Return rows of any job and state, some of them more than once."""
        rows = self.rows
        return [rows[number % len(rows)] for number in numbers] if rows else []

    def learn(self, job: ModelledJob, entries: list[ListedObject]) -> PageChanges:
        """Do to the model what a page does; the new rows' ids come from the ledger."""
        new = superseded = replayed = 0
        for entry in entries:
            old = job.newest.get(entry.key)
            if old and old.etag == entry.etag:
                if old.reason == "not_found" or (old.reason == "archived" and not entry.archived):
                    old.state, old.reason, old.deaths = "pending", "", 0
                    replayed += 1
                continue
            if old:
                old.state, old.label, old.reason = "superseded", "", ""
                superseded += 1
            row = Row(0, job.id, entry.key, entry.etag)
            if entry.archived:
                row.state, row.reason = "quarantined", "archived"
            job.rows.append(row)
            job.newest[entry.key] = row
            new += 1
        self.name_rows(job)
        return PageChanges(new, superseded, replayed)

    def name_rows(self, job: ModelledJob) -> None:
        def ask(cursor: LedgerCursor) -> dict[bytes, int]:
            cursor.execute("SELECT id, object_key FROM objects WHERE job_id = %s ORDER BY generation", (job.id,))
            return {row["object_key"]: row["id"] for row in cursor.fetchall()}

        ids = self.ledger.run(ask)
        for row in job.rows:
            row.id = row.id or ids[row.key]

    @precondition(lambda self: any(job.state == "running" for job in self.jobs))
    @rule(number=which, page=pages, last=st.booleans(), twice=st.booleans(), archived=st.booleans())
    def list_page(self, number: int, page: dict[bytes, str], *, last: bool, twice: bool, archived: bool) -> None:
        job = self.jobs[number]
        if job.state != "running":
            return
        entries = [ListedObject(key, etag, 1, archived and key == b"a") for key, etag in sorted(page.items())]

        def add(cursor: LedgerCursor) -> PageChanges:
            listing.restart(cursor, job.id)
            return listing.add_page(cursor, job.id, entries, repeat_no=0, last=last, repeats=1)

        added = self.ledger.run(add)
        assert added == self.learn(job, entries)
        job.complete |= last
        if twice:
            assert self.ledger.run(add) == PageChanges(0, 0)

    @rule(number=which, page=pages)
    def notify(self, number: int, page: dict[bytes, str]) -> None:
        job = self.jobs[number]
        if job.started and job.state in {"running", "paused"}:
            entries = [ListedObject(key, etag, 1) for key, etag in page.items()]
            assert self.ledger.run(listing.upsert_keys, job.id, entries) == self.learn(job, entries)

    @rule(numbers=picks)
    def change(self, numbers: list[int]) -> None:
        """Change several objects of a job at once, perhaps two versions of one key among them."""
        rows = self.chosen(numbers)
        rows = [row for row in rows if row.job == rows[0].job]
        job = next((job for job in self.jobs if rows and job.id == rows[0].job), None)
        if job and job.state == "running":
            changed = {row.id: ListedObject(row.key, "changed", 2) for row in rows}
            added = self.ledger.run(listing.add_changed, job.id, changed)
            assert added == self.learn(job, list({now.key: now for now in changed.values()}.values()))

    @rule(numbers=picks, stranger=st.booleans(), label=st.sampled_from(["cat", "dög"]), twice=st.booleans())
    def commit(self, numbers: list[int], label: str, *, stranger: bool, twice: bool) -> None:
        rows = self.chosen(numbers)
        # An object that is twice in the batch has two labels there: the first one wins.
        batch = [prediction(row.id, row.job, f"{label} {place}") for place, row in enumerate(rows)]
        if stranger:
            batch.insert(0, prediction(2**50, 1, label))
        expected = {row.id for row in rows if row.state == "pending"}
        assert self.ledger.run(predictions.commit, batch) == expected
        for place, row in enumerate(rows):
            if row.state == "pending":
                row.state, row.label = "done", f"{label} {place}"
        if twice:
            assert self.ledger.run(predictions.commit, batch) == set()

    @rule(numbers=picks, reason=st.sampled_from(["corrupt", "not_found"]))
    def quarantine(self, numbers: list[int], reason: str) -> None:
        rows = {row.id: row for row in self.chosen(numbers)}
        failures = [QuarantineEntry(number, reason, "x" * 600) for number in rows]
        waiting = [row for row in rows.values() if row.state == "pending"]
        assert self.ledger.run(objects.quarantine, failures) == len(waiting)
        for row in waiting:
            row.state, row.reason = "quarantined", reason

    @rule(numbers=picks, twice=st.booleans())
    def die(self, numbers: list[int], *, twice: bool) -> None:
        rows = {row.id: row for row in self.chosen(numbers)}
        deaths = {row.id: row.deaths for row in rows.values()}
        for _ in range(1 + twice):
            condemned = self.ledger.run(objects.count_death, deaths)
            for row in rows.values():
                if row.state == "pending":
                    row.deaths = deaths[row.id] + 1
                    if row.deaths >= 3:
                        row.state, row.reason = "quarantined", "killed_consumers"
            killers = [
                row.id for row in rows.values() if (row.state, row.reason) == ("quarantined", "killed_consumers")
            ]
            assert condemned == sorted(killers)

    @rule(number=st.none() | which, reason=st.sampled_from([None, "corrupt", "killed_consumers", "archived"]))
    def replay(self, number: int | None, reason: str | None) -> None:
        job_id = None if number is None else self.jobs[number].id
        rows = [
            row
            for row in self.rows
            if row.state == "quarantined" and reason in {None, row.reason} and job_id in {None, row.job}
        ]
        listed = self.ledger.run(objects.list_quarantined, job_id, reason=reason)
        assert [(row.id, row.reason) for row in listed] == [(row.id, row.reason) for row in rows]
        over = {job.id for job in self.jobs if job.state == "cancelled"}
        if job_id in over and rows:
            with pytest.raises(LedgerError, match="cancelled"):
                self.ledger.run(objects.replay, job_id, reason=reason)
            return
        rows = [row for row in rows if row.job not in over]
        assert self.ledger.run(objects.replay, job_id, reason=reason) == len(rows)
        for row in rows:
            row.state, row.reason, row.deaths = "pending", "", 0
        for job in self.jobs:
            if job.state == "done" and job.id in {row.job for row in rows}:
                job.state = "running"

    @rule(number=which)
    def start(self, number: int) -> None:
        job = self.jobs[number]
        assert self.ledger.run(jobs.start, job.id, 1) == (job.state == "pending")
        if job.state == "pending":
            job.state, job.started = "running", True

    @rule(number=which, to=st.sampled_from(["paused", "running", "paused", "running", "cancelled"]))
    def ask(self, number: int, to: str) -> None:
        job = self.jobs[number]
        if job.state != to and job.state not in jobs.ALLOWED[to]:
            try:
                self.ledger.run(jobs.change_state, job.id, to)
            except LedgerError:
                return
            raise AssertionError(f"{job.state} became {to}")
        job.state = self.ledger.run(jobs.change_state, job.id, to).state
        assert job.state == ("pending" if to == "running" and not job.started else to)

    @rule(number=which)
    def finish(self, number: int) -> None:
        job = self.jobs[number]
        may = job.state == "running" and job.complete and not job.count("pending")
        assert self.ledger.run(jobs.finish, job.id) == may
        job.state = "done" if may else job.state

    @rule(number=which, replay=st.booleans())
    def come_to_the_end(self, number: int, *, replay: bool) -> None:
        """Finish a job with one quarantined object; random steps seldom get there."""
        job = self.jobs[number]
        self.list_page(number, {}, last=True, twice=False, archived=False)
        waiting = [place for place, row in enumerate(self.rows) if row.job == job.id and row.state == "pending"]
        self.quarantine(waiting[:1], "corrupt")
        self.commit(waiting[1:], "end", stranger=False, twice=False)
        self.finish(number)
        if replay:
            self.replay(number, "corrupt")

    @invariant()
    def no_breach(self) -> None:
        assert self.ledger.run(check.check) == []

    @invariant()
    def counts_are_the_models(self) -> None:
        backlog = 0
        for job in self.jobs:
            found = self.ledger.run(progress.progress, job.id)
            assert found is not None
            assert (found.state, found.listed, found.listing_complete) == (job.state, len(job.rows), job.complete)
            counts = {name: getattr(found, name) for name in ("pending", "done", "quarantined", "superseded")}
            assert counts == {name: job.count(name) for name in counts}
            backlog += found.pending if job.state == "running" else 0
        assert self.ledger.run(progress.backlog) == backlog

    @invariant()
    def rows_are_the_models(self) -> None:
        for job in self.jobs:
            waiting = [row for shard in range(SHARDS) for row in self.pending(job, shard)]
            expected = [(row.id, row.deaths) for row in job.rows if row.state == "pending"]
            assert sorted((row.id, row.deaths) for row in waiting) == sorted(expected)
            done = self.ledger.run(predictions.results, job.id)
            assert {row.object_id: row.label for row in done} == {r.id: r.label for r in job.rows if r.state == "done"}

    def pending(self, job: ModelledJob, shard: int) -> list[PendingObject]:
        return self.ledger.run(objects.pending, job.id, 0, 100, shard, SHARDS)


def test_any_order_of_events(ledger: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    # Small blocks, so that each shard has some of a few objects.
    monkeypatch.setattr(objects, "BLOCK", 2)

    class Machine(LedgerMachine):
        def __init__(self) -> None:
            super().__init__(ledger)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        ),
    )
