"""When a key that changes during its reads is quarantined."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from producer.backlog import Backlog
from producer.failures import BATCH, CHANGES_SECONDS, MOST_CHANGES, FailureWriter
from producer.leased import StreamedObject
from sluice.domain import ListedObject, Reason
from sluice.ledger import PageChanges, QuarantineEntry, listing

FOUND = StreamedObject(1, 1, 1, "s3://b/", b"key", "e", 10)


class SupersedeCounter:
    """A ledger that accepts every failure, and counts those that superseded something."""

    def __init__(self) -> None:
        self.superseded = 0

    async def run(self, work: object, *_: object) -> PageChanges | set[int]:
        if work is not listing.add_changed:
            return set()
        self.superseded += 1
        return PageChanges(1, 1, reopened=self.superseded == 1)


def changes_until_given_up(between: Callable[[FailureWriter], None] = lambda _: None, seconds: float = 0.0) -> int:
    """Let a key change during each of twenty reads, so far apart, and count how often it was retried."""
    counter, moments = SupersedeCounter(), itertools.count(step=seconds)

    async def change() -> None:
        judged = FailureWriter(cast("Any", counter), Backlog(), written=lambda: None, clock=lambda: next(moments))
        writing = asyncio.create_task(judged.run())
        for _ in range(20):
            before = counter.superseded
            judged.change(FOUND, ListedObject(b"key", "other", 10))
            await judged.flushed()
            if counter.superseded == before:
                break
            between(judged)
        writing.cancel()

    asyncio.run(change())
    return counter.superseded


def test_a_key_that_changes_under_each_read_is_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    """It is logged that the job was done before the first change."""
    assert changes_until_given_up() == MOST_CHANGES - 1
    assert "".join(capsys.readouterr()).count("a done job runs again") == 1


def test_a_key_that_is_read_to_its_end_in_between_is_not() -> None:
    assert changes_until_given_up(lambda judged: judged.settle(FOUND)) == 20


def test_what_becomes_of_other_keys_changes_nothing() -> None:
    other = StreamedObject(2, 1, 1, "s3://b/", b"other", "e", 10)
    assert changes_until_given_up(lambda judged: judged.settle(other)) == MOST_CHANGES - 1


def test_changes_that_lie_far_apart_are_not_counted_together() -> None:
    """Another shard may have read the versions in between successfully, which this one doesn't know."""
    assert changes_until_given_up(seconds=CHANGES_SECONDS) == MOST_CHANGES - 1
    assert changes_until_given_up(seconds=CHANGES_SECONDS + 1) == 20


def test_what_was_being_written_when_the_producer_was_told_to_stop_is_written_in_the_end() -> None:
    """Whoever waits for it doesn't wait in vain, and what was behind it isn't forgotten."""
    written: list[int] = []

    class SlowOnce:
        """A ledger that gives no answer the first time."""

        is_slow = True

        async def run(self, _: object, rows: list[QuarantineEntry]) -> set[int]:
            if self.is_slow:
                self.is_slow = False
                await asyncio.Event().wait()
            written.extend(row.object_id for row in rows)
            return set()

    async def stop() -> None:
        judged = FailureWriter(cast("Any", SlowOnce()), Backlog(), written=lambda: None)
        writing = asyncio.create_task(judged.run())
        for number in range(BATCH + 5):
            judged.fail(replace(FOUND, id=number), Reason.EMPTY, "")
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
        writing = asyncio.create_task(judged.run())
        await asyncio.wait_for(judged.flushed(), 30)
        writing.cancel()

    asyncio.run(stop())
    assert written == list(range(BATCH + 5))
