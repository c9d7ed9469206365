"""What is done costs nothing: a ledger with many done rows reads no more than one with few, counted by the server."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Final

import pytest

from sluice.ledger import Database, jobs, progress
from sluice.settings import Settings
from tests.support.ledger_rows import ask, breaches, reads, running_job
from tools.bench.growth import measure, refuse_without_room
from tools.bench.growth_report import growth, plot, table
from tools.bench.growth_rows import begin, grow
from tools.bench.growth_work import GrowthWork
from tools.stack import Servers

SLACK: Final = 4
"""Entries that a range may have before its end, as at rows that another transaction has just removed."""


def test_what_is_done_is_not_read(ledger: Database, settings: Settings) -> None:
    """Lease, commit and status read no more with 24,000 done rows than with 200; all else no more than with 12,000."""
    grown = begin(settings, labels=20)
    grow(grown, 200)
    few = GrowthWork(grown, ledger)
    few.round()
    grow(grown, 12_000)
    more = GrowthWork(grown, ledger)
    more.round()
    grow(grown, 24_000)
    most = GrowthWork(grown, ledger)
    most.round()
    for name, (least, *_) in few.found.items():
        read = {work.grown.rows: work.found[name][0].rows for work in (more, most)}
        assert most.found[name][0].rows <= more.found[name][0].rows + SLACK, (name, read)
        if name.split()[0] in {"list", "lease", "commit", "status", "backlog", "is"} and "known" not in name:
            assert most.found[name][0].rows <= least.rows + SLACK, (name, least.rows, read)
    assert breaches(ledger) == []


def test_jobs_that_have_ended_are_not_read(ledger: Database) -> None:
    """What a producer asks every second about its running job doesn't grow with the jobs of years."""
    job = running_job(ledger)
    looks = {"progress": lambda c: progress.progress(c, job), "active": jobs.active, "backlog": progress.backlog}
    few = {name: reads(ledger, work) for name, work in looks.items()}
    ask(ledger, "CREATE TABLE years AS SELECT 1 AS n" + " UNION ALL SELECT 1" * 299)
    ask(ledger, "INSERT INTO jobs (source, state) SELECT 's3://photos', 'done' FROM years")
    for slot in range(4):
        ask(
            ledger,
            "INSERT INTO counters (job_id, slot, listed, done) SELECT id, %s, 1, 1 FROM jobs WHERE id > %s",
            slot,
            job,
        )
    ask(ledger, "ANALYZE TABLE jobs, counters, listings")
    many = {name: reads(ledger, work) for name, work in looks.items()}
    assert all(many[name] <= few[name] + SLACK for name in looks), (few, many)


def test_the_bench_measures_what_it_fills(servers: Servers, tmp_path: Path) -> None:
    """At sizes that take seconds; it ends if `sluice check` finds anything in what it made."""
    servers.start(servers.database)
    options = Namespace(rows=[500, 1500], rounds=1, pool=256, fill_pool=256, compressed=True, no_check=False)
    try:
        results = measure(servers, options)
    finally:
        for rows in options.rows:
            servers.database.drop(f"growth_{rows}")
    assert growth(results, "commit 250", "rows") == 1
    assert results["sizes"][1]["index_bytes"]["predictions.by_score"] > 0
    assert "| lease 1,000, from the first id |" in table(results)
    plot(results, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 0


def test_a_disk_that_is_too_small_is_said_beforehand(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"GB free: give fewer --rows, or set TMPDIR"):
        refuse_without_room(tmp_path, [10**15])
