"""`scripts/bench ceiling`: simulated consumers that answer a real producer, and what they count."""

from __future__ import annotations

import time

import pytest

from sluice import ledger
from sluice.ledger import Database
from tools.bench.crowd import ConsumerCrowd
from tools.stack import Stack

OBJECTS = 40
BYTES = 1000


@pytest.mark.parametrize("commits", [False, True])
def test_a_crowd_counts_what_it_received_and_commits_if_told_to(stack: Stack, bucket: str, commits: bool) -> None:  # noqa: FBT001
    stack.servers.s3.fill(bucket, ((f"{place:03}", bytes(BYTES)) for place in range(OBJECTS)))
    stack.start_workers(consumers=0, delivery="inline")
    with Database(stack.settings) as database:
        job = database.run(ledger.jobs.submit, f"s3://{bucket}")
        with ConsumerCrowd(stack.settings, 3, window=8, processes=2, commits=commits) as crowd:
            deadline = time.monotonic() + 60
            while (counts := crowd.counts()).images < OBJECTS or (commits and not _is_done(database, job)):
                assert time.monotonic() < deadline, counts
                time.sleep(0.1)
        assert counts.lost == 0
        assert counts.bytes == counts.images * BYTES
        seen = database.run(ledger.progress.progress, job)
        assert seen is not None
        assert seen.done == (OBJECTS if commits else 0)


def _is_done(database: Database, job: int) -> bool:
    seen = database.run(ledger.progress.progress, job)
    return seen is not None and seen.state == "done"
