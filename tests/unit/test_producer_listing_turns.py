"""Turns at listing: the most urgent job first, equals in turn, and unused turns are freed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from producer.listing_turns import ListingTurns


async def settle() -> None:
    """Let all tasks run until they wait."""
    for _ in range(20):
        await asyncio.sleep(0)


def played(part: Callable[[ListingTurns, list[int]], Coroutine[None, None, None]], at_once: int = 1) -> list[int]:
    """Run a test with turns; return the jobs in the order in which they were served."""
    turns, served = ListingTurns(at_once), list[int]()
    asyncio.run(part(turns, served))
    return served


async def page(turns: ListingTurns, served: list[int], job: int) -> None:
    async with turns.turn(job):
        served.append(job)
        await asyncio.sleep(0)


def test_the_most_urgent_goes_first_and_equals_take_turns() -> None:
    async def part(turns: ListingTurns, served: list[int]) -> None:
        turns.set_priorities({1: 0, 2: 0, 3: 7})
        async with asyncio.TaskGroup() as tasks:
            for job in (1, 1, 1, 2, 2, 2, 3, 3, 3):
                tasks.create_task(page(turns, served, job))

    assert played(part) == [1, 3, 3, 3, 2, 1, 2, 1, 2], "only job 1 had asked when the first turn was given"


def test_a_priority_that_rises_counts_at_once_and_jobs_that_stopped_come_last() -> None:
    async def part(turns: ListingTurns, served: list[int]) -> None:
        turns.set_priorities({1: 5, 2: 0, 3: 0})
        async with asyncio.TaskGroup() as tasks, turns.turn(1):
            for job in (1, 2, 3):
                tasks.create_task(page(turns, served, job))
            await settle()
            turns.set_priorities({2: 0, 3: 9})

    assert played(part) == [3, 2, 1]


def test_who_is_cancelled_gives_up_its_turn_and_its_place() -> None:
    async def part(turns: ListingTurns, served: list[int]) -> None:
        holder = asyncio.create_task(hold(turns))
        await settle()
        waiting = asyncio.create_task(page(turns, served, 2))
        last = asyncio.create_task(page(turns, served, 3))
        await settle()
        waiting.cancel()
        await settle()
        assert served == []
        holder.cancel()
        await last

    assert played(part) == [3]


def test_a_turn_given_in_the_moment_of_the_cancellation_goes_to_the_next() -> None:
    async def part(turns: ListingTurns, served: list[int]) -> None:
        holder = asyncio.create_task(hold(turns))
        await settle()
        waiting = asyncio.create_task(page(turns, served, 2))
        last = asyncio.create_task(page(turns, served, 3))
        await settle()
        holder.cancel()
        await asyncio.sleep(0)
        waiting.cancel()
        await last

    assert played(part) == [3]


def test_who_was_cancelled_a_moment_ago_is_given_no_turn() -> None:
    async def part(turns: ListingTurns, served: list[int]) -> None:
        async with turns.turn(1):
            waiting = asyncio.create_task(page(turns, served, 2))
            last = asyncio.create_task(page(turns, served, 3))
            await settle()
            waiting.cancel()
        await last

    assert played(part) == [3]


def test_no_more_than_so_many_at_once() -> None:
    async def part(turns: ListingTurns, served: list[int]) -> None:
        holders = [asyncio.create_task(hold(turns, served, job)) for job in range(5)]
        await settle()
        assert served == [0, 1]
        for holder in holders:
            holder.cancel()
            await settle()

    assert sorted(played(part, at_once=2)) == [0, 1, 2, 3, 4]


async def hold(turns: ListingTurns, served: list[int] | None = None, job: int = 1) -> None:
    async with turns.turn(job):
        if served is not None:
            served.append(job)
        await asyncio.Event().wait()
