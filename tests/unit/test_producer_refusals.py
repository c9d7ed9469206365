"""Whose fault it is that the storage refuses a read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from producer.leased import StreamedObject
from producer.refusals import TRIES, RefusalCounter, Witness
from sluice.errors import ObjectError, ReadRefused

BAD = StreamedObject(1, 1, 1, "s3://photos/", b"bad", "e", 10)
GOOD = StreamedObject(2, 1, 1, "s3://photos/", b"good", "e", 10)


class OneSource:
    """Returns the keys that it is told to return, and refuses the others; it is its own table of sources."""

    def __init__(self, **errors: Exception) -> None:
        self.errors = errors
        self.reads = 0

    def get(self, _: str) -> OneSource:
        return self

    async def read(self, key: bytes, _etag: str, _limit: int) -> bytes:
        self.reads += 1
        await asyncio.sleep(0)
        if (error := self.errors.get(key.decode())) is not None:
            raise error
        return b"x"


def doubts_of(source: OneSource, *found: Witness) -> RefusalCounter:
    async def find(_: int) -> Sequence[Witness]:
        return found

    return RefusalCounter(cast("Any", source), find)


async def failures(refusals: RefusalCounter, times: int = TRIES) -> list[bool]:
    return [await refusals.refused(BAD) >= TRIES for _ in range(times)]


def test_what_is_refused_each_time_while_another_is_read_is_convicted() -> None:
    async def part() -> None:
        refusals = doubts_of(OneSource())
        refusals.was_read(GOOD, 0.0)
        assert await failures(refusals) == [False] * (TRIES - 1) + [True]

    asyncio.run(part())


def test_after_a_restart_the_ledger_names_the_witness_and_one_that_is_gone_is_passed_by() -> None:
    async def part() -> None:
        source = OneSource(gone=ObjectError("not_found", ""), large=ObjectError("too_large", ""))
        assert (await failures(doubts_of(source, (b"gone", "e"), (b"large", "e"))))[-1]
        assert not any(await failures(doubts_of(source, (b"gone", "e")), 20))

    asyncio.run(part())


@pytest.mark.parametrize("known", [(), ((b"good", "e"),)])
def test_nobody_is_convicted_while_nothing_is_read(known: tuple[Witness, ...]) -> None:
    """I5: an outage of the whole source, or a source that never returned anything."""

    async def part() -> None:
        assert not any(await failures(doubts_of(OneSource(good=ReadRefused("500")), *known), 50))

    asyncio.run(part())


def test_what_could_be_read_once_is_no_witness_for_itself() -> None:
    async def part() -> None:
        refusals = doubts_of(OneSource(bad=ReadRefused("500"), too=ReadRefused("500")), (b"too", "e"), (b"good", "e"))
        refusals.was_read(BAD, 0.0)
        assert (await failures(refusals))[-1]

    asyncio.run(part())


def test_failures_during_an_outage_do_not_count_afterwards() -> None:
    async def part() -> None:
        source = OneSource(good=ReadRefused("500"))
        refusals = doubts_of(source, (b"good", "e"))
        await failures(refusals, 50)
        source.errors.clear()
        assert await failures(refusals) == [False] * (TRIES - 1) + [True]

    asyncio.run(part())


def test_a_success_forgets_the_failures_before_it() -> None:
    async def part() -> None:
        refusals = doubts_of(OneSource(), (b"good", "e"))
        await failures(refusals, TRIES - 1)
        refusals.was_read(BAD, 0.0)
        assert not any(await failures(refusals, TRIES - 1))

    asyncio.run(part())


def test_many_that_fail_at_once_take_the_same_answer() -> None:
    async def part() -> None:
        source = OneSource()
        refusals = doubts_of(source, (b"good", "e"))
        others = [StreamedObject(number, 1, 1, "s3://photos/", b"bad", "e", 10) for number in range(100)]
        await asyncio.gather(*(refusals.refused(found) for found in others))
        assert source.reads <= 2

    asyncio.run(part())
