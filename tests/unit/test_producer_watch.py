"""Which consumers a producer takes for dead."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any, cast

from producer.leased import ConsumerDeath
from producer.leases import LeaseTable
from producer.service import watch_consumers

HEARTBEAT = 0.25


class DeathWatch:
    """As much of a dispatcher as is told of deaths."""

    in_hand = 0

    def __init__(self) -> None:
        self.dead: list[str] = []

    def died(self, loss: ConsumerDeath) -> None:
        self.dead.append(loss.consumer)

    def wake(self) -> None:
        """Do nothing."""


def test_consumers_are_not_dead_because_their_producer_stood_still() -> None:
    """Their messages wait to be read; a death would count against each object that they hold."""

    async def test() -> None:
        leases, watch = LeaseTable(HEARTBEAT), DeathWatch()
        leases.hello(b"a", "a", time.monotonic())
        watching = asyncio.create_task(watch_consumers(leases, cast("Any", watch)))
        await asyncio.sleep(0)
        time.sleep(6 * HEARTBEAT)  # noqa: ASYNC251 - stands still, as after SIGSTOP
        for _ in range(10):  # turns, in which it looks again
            await asyncio.sleep(0)
        assert watch.dead == []
        leases.heard(b"a", time.monotonic())
        deadline = time.monotonic() + 60
        while not watch.dead:  # who then says nothing is
            assert time.monotonic() < deadline
            await asyncio.sleep(HEARTBEAT)
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching

    asyncio.run(test())
