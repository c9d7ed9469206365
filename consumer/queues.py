"""The bounded queues between stages. They pass lists: one await moves many objects."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from consumer.held import HeldObject
from sluice.telemetry import metrics


def _one(_: HeldObject) -> int:
    return 1


class StageQueue:
    """Objects that wait for a stage; `put` waits while it is full, `take` while it is empty."""

    def __init__(self, name: str, limit: float = math.inf, weigh: Callable[[HeldObject], int] = _one) -> None:
        self._objects: deque[HeldObject] = deque()
        self._limit = limit
        self._weigh = weigh
        self._weight = 0
        self._filled = asyncio.Event()
        self._roomy = asyncio.Event()
        self._roomy.set()
        self._depth = metrics.QUEUE_DEPTH.labels(queue=name)

    def __len__(self) -> int:
        return len(self._objects)

    def put_now(self, objects: Iterable[HeldObject]) -> None:
        """Add objects whose number is bounded by the credit."""
        for held in objects:
            self._objects.append(held)
            self._weight += self._weigh(held)
        self._note()

    async def put(self, objects: Iterable[HeldObject]) -> None:
        """Add objects when there is space; the last list may exceed the limit."""
        while not self._roomy.is_set():
            await self._roomy.wait()
        self.put_now(objects)

    async def take(self, most: int) -> list[HeldObject]:
        """Take the waiting objects, at least one."""
        while not self._objects:
            await self._filled.wait()
        return self.take_now(most)

    def take_now(self, most: int, match: Callable[[HeldObject], bool] | None = None) -> list[HeldObject]:
        """Take the first matching objects; may return none."""
        if match is None:
            taken = [self._objects.popleft() for _ in range(min(most, len(self._objects)))]
            self._weight -= sum(map(self._weigh, taken))
            self._note()
            return taken
        return self._split(most, match)

    def _split(self, most: int, match: Callable[[HeldObject], bool]) -> list[HeldObject]:
        taken: list[HeldObject] = []
        left: deque[HeldObject] = deque()
        for held in self._objects:
            (taken if len(taken) < most and match(held) else left).append(held)
        self._objects = left
        self._weight -= sum(map(self._weigh, taken))
        self._note()
        return taken

    async def wait_filled(self) -> None:
        """Wait until an object is there."""
        await self._filled.wait()

    async def wait(self, seconds: float) -> None:
        """Wait for an object, for at most so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._filled.wait()

    def _note(self) -> None:
        (self._filled.set if self._objects else self._filled.clear)()
        (self._roomy.set if self._weight < self._limit else self._roomy.clear)()
        self._depth.set(len(self._objects))


class ByteBudget:
    """Bytes that are held before they are decoded; bounds this process's memory (I7)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._released = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """Return whether no more bytes should be asked for."""
        return self._used >= self._limit

    def add(self, count: int) -> None:
        """Count bytes that are here already."""
        self._used += count

    def release(self, count: int) -> None:
        """Count bytes as gone; all waiters check again, because one may need little."""
        self._used -= count
        self._released.set()

    async def wait(self) -> None:
        """Wait until it isn't full."""
        while self.is_full:
            self._released.clear()
            await self._released.wait()

    async def reserve(self, count: int) -> None:
        """Wait until so many bytes fit; an object larger than the budget fits if it is the only one."""
        while self._used and self._used + count > self._limit:
            self._released.clear()
            await self._released.wait()
        self.add(count)
