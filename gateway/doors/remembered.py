"""Answers of the ledger, remembered for some seconds: what is asked with every request, and may be that old."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

MOST: Final = 20_000


class Remembered(Generic[K, V]):
    """Looks up by key, at most once in `seconds` a key; who asks meanwhile waits for the look-up under way."""

    def __init__(
        self,
        look_up: Callable[[K], Awaitable[V]],
        seconds: float,
        most: int = MOST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look_up = look_up
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._found: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._under_way: dict[K, asyncio.Task[V]] = {}

    def peek(self, key: K) -> V | None:
        """Return what is remembered and fresh."""
        known = self._found.get(key)
        return known[1] if known is not None and self._clock() - known[0] < self._seconds else None

    async def get(self, key: K) -> V:
        """Return what is remembered and fresh, else what the look-up finds."""
        known = self._found.get(key)
        if known is not None and self._clock() - known[0] < self._seconds:
            return known[1]
        under_way = self._under_way.get(key)
        if under_way is None:
            under_way = asyncio.create_task(self._ask(key))
            self._under_way[key] = under_way
        # Whoever began it may go away meanwhile; others wait for it too.
        return await asyncio.shield(under_way)

    def forget(self, key: K) -> None:
        """Look this key up anew when it is asked for next, whatever is under way."""
        self._found.pop(key, None)
        self._under_way.pop(key, None)

    def forget_all(self) -> None:
        """Look everything up anew."""
        self._found.clear()
        self._under_way.clear()

    async def _ask(self, key: K) -> V:
        asked = self._clock()
        mine = asyncio.current_task()
        try:
            found = await self._look_up(key)
            if self._under_way.get(key) is mine:
                # As old as the question: what it says may have changed before the answer came.
                self._found[key] = (asked, found)
                self._found.move_to_end(key)
                while len(self._found) > self._most:
                    self._found.popitem(last=False)
            return found
        finally:
            if self._under_way.get(key) is mine:
                del self._under_way[key]
