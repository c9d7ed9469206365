"""A prefix that is watched all the time: what is new joins its job between two passes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from producer.glances import PrefixGlances
from producer.ledger import LedgerConnections
from producer.listing_turns import ListingTurns
from producer.messages import JobMessages
from producer.shard import ShardLock
from producer.sources import JobSources
from sluice.ledger import Database, Job, LedgerCursor, jobs, listing
from sluice.settings import Settings
from sluice.telemetry.health import Health
from tests.support.ledger_rows import breaches, register


def watch(database: Database, folder: Path) -> Job:
    def work(cursor: LedgerCursor) -> Job:
        jobs.start(cursor, jobs.submit(cursor, f"file://{folder}", watch=True, watch_seconds=0), register(cursor))
        return jobs.active(cursor)[0]

    return database.run(work)


def rows(database: Database) -> list[tuple[bytes, str]]:
    def work(cursor: LedgerCursor) -> list[tuple[bytes, str]]:
        cursor.execute("SELECT object_key, state FROM objects ORDER BY id")
        return [(row["object_key"], row["state"]) for row in cursor.fetchall()]

    return database.run(work)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - a table tells nobody that it changed
            await asyncio.sleep(0.02)


def test_new_and_changed_files_join_without_a_pass(settings: Settings, ledger: Database, tmp_path: Path) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"1")
    job = watch(ledger, folder)
    told: list[int] = []

    async def part() -> None:
        health = Health()
        connections = LedgerConnections(settings, health)
        lock, sources = ShardLock(0, connections.lock, health), JobSources(settings, JobMessages())
        glances = PrefixGlances(lock, sources, ListingTurns(1), told.append)
        try:
            await lock.acquire()
            waiting = asyncio.create_task(glances.wait_for_pass(job, 0.0))
            await until(lambda: rows(ledger) == [(b"a.jpg", "pending")])
            (folder / "b.jpg").write_bytes(b"2")
            await until(lambda: rows(ledger)[1:] == [(b"b.jpg", "pending")])
            (folder / "a.jpg").write_bytes(b"other")
            await until(lambda: len(rows(ledger)) == 3)
            waiting.cancel()
        finally:
            connections.close()

    asyncio.run(part())
    assert sorted(rows(ledger)) == [(b"a.jpg", "pending"), (b"a.jpg", "superseded"), (b"b.jpg", "pending")]
    assert told == [job.id] * 3
    assert ledger.run(listing.state, job.id).passes == 0
    assert breaches(ledger) == []
