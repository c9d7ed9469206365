"""Turns at a scarce resource, for the most urgent job first; jobs of equal priority take turns."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping


class ListingTurns:
    """A semaphore that orders its waiters by their jobs' priorities."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._priorities: Mapping[int, int] = {}
        self._served: dict[int, int] = {}
        self._count = 0

    def set_priorities(self, priorities: Mapping[int, int]) -> None:
        """Set each job's current priority; jobs without one come last."""
        self._priorities = priorities
        self._served = {job: count for job, count in self._served.items() if job in priorities}

    @contextlib.asynccontextmanager
    async def turn(self, job: int) -> AsyncIterator[None]:
        """Wait for a turn and hold it; a cancelled waiter gives up its turn, or its place in the queue."""
        if self._free:
            self._free -= 1
            self._note(job)
        else:
            await self._wait(job)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, job: int) -> None:
        place = (job, asyncio.get_running_loop().create_future())
        self._waiting.append(place)
        try:
            await place[1]
        except asyncio.CancelledError:
            if place in self._waiting:
                self._waiting.remove(place)
            else:  # the turn was passed to this waiter in the same moment
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        # A waiter that was just cancelled is still queued, and gets no turn.
        waiting = [place for place in self._waiting if not place[1].done()]
        if not waiting:
            self._free += 1
            return
        place = min(waiting, key=lambda waits: self._rank(waits[0]))
        self._waiting.remove(place)
        self._note(place[0])
        place[1].set_result(None)

    def _rank(self, job: int) -> tuple[bool, int, int]:
        """Return a sort key: most urgent first, among equals the one whose last turn is longest ago."""
        return job not in self._priorities, -self._priorities.get(job, 0), self._served.get(job, 0)

    def _note(self, job: int) -> None:
        self._count += 1
        self._served[job] = self._count
