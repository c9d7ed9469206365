"""When a key that changes under its reads is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest

from producer import failures
from producer.backlog import Backlog
from producer.failures import MOST_CHANGES, FailureWriter
from producer.leases import StreamedObject
from sluice.domain import ListedObject

FOUND = StreamedObject(1, 1, 1, "s3://b/", b"key", "e", 10)


class Notes:
    """A ledger that takes every verdict, and remembers how many of them superseded something."""

    def __init__(self) -> None:
        self.superseded = 0

    async def run(self, work: Any) -> set[int]:  # noqa: ANN401 - whatever the ledger's function is
        self.superseded += isinstance(work, partial)
        return set()


def changes_until_given_up(between: Callable[[FailureWriter], None] = lambda _: None) -> int:
    """Have a key change under each of twenty reads, and count how often it was tried once more."""
    notes = Notes()

    async def change() -> None:
        judged = FailureWriter(cast("Any", notes), Backlog())
        writing = asyncio.create_task(judged.run())
        for _ in range(20):
            before = notes.superseded
            judged.change(FOUND, ListedObject(b"key", "other", 10))
            await judged.flushed()
            if notes.superseded == before:
                break
            between(judged)
        writing.cancel()

    asyncio.run(change())
    return notes.superseded


def test_a_key_that_changes_under_each_read_is_given_up() -> None:
    assert changes_until_given_up() == MOST_CHANGES - 1


def test_a_key_that_is_read_to_its_end_in_between_is_not() -> None:
    assert changes_until_given_up(lambda judged: judged.settle(FOUND)) == 20


def test_what_becomes_of_other_keys_changes_nothing() -> None:
    other = StreamedObject(2, 1, 1, "s3://b/", b"other", "e", 10)
    assert changes_until_given_up(lambda judged: judged.settle(other)) == MOST_CHANGES - 1


def test_changes_that_lie_far_apart_are_not_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its successors may have been read to their end by another shard, which this one does not hear of."""
    monkeypatch.setattr(failures, "CHANGES_SECONDS", -1.0)
    assert changes_until_given_up() == 20
