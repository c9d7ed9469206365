"""The end of an object's way: done, failed or given back, and its producer is notified. Tracks what is held."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable

from consumer.cache import AnswerCache
from consumer.credit import CreditPacer
from consumer.held import HeldObject, LeaseOwner
from sluice.domain import Reason
from sluice.protocol import Failure
from sluice.telemetry import get_logger, metrics

log = get_logger()


class InFlight:
    """Finishes objects; objects with the same bytes that wait for one get the same outcome."""

    def __init__(self, cache: AnswerCache, pace: CreditPacer) -> None:
        self._cache = cache
        self._pace = pace
        self._held: set[HeldObject] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._held)

    def accept(self, objects: Iterable[HeldObject]) -> None:
        """Track objects as held."""
        self._held.update(objects)
        self._note()

    async def wait_empty(self) -> None:
        """Wait until nothing is held."""
        await self._empty.wait()

    def done(self, objects: Iterable[HeldObject]) -> None:
        """Report that these are committed."""
        for lessor, theirs in self._over(objects).items():
            lessor.done([held.item.id for held in theirs])

    def fail(self, objects: Iterable[HeldObject]) -> None:
        """Report that these can't be classified, with each one's `fault`."""
        objects = list(objects)
        for held in objects:
            for follower in self._cache.settle(held):
                follower.fault = held.fault
                objects.append(follower)
        for lessor, theirs in self._over(objects).items():
            lessor.failed([_failure(held) for held in theirs])

    def give_back(self, objects: Iterable[HeldObject], why: str = "") -> None:
        """Give these back with a reason; it doesn't count against them."""
        objects = list(objects)
        for held in objects:
            if held.leads:
                objects.extend(self._cache.settle(held))
        for lessor, theirs in self._over(objects, worked=False).items():
            lessor.give_back([held.item.id for held in theirs], why)
            metrics.RETURNED.inc(len(theirs))

    def give_back_all(self) -> None:
        """Give back all held objects, whatever their stage."""
        self.give_back(list(self._held))

    def _over(self, objects: Iterable[HeldObject], *, worked: bool = True) -> dict[LeaseOwner, list[HeldObject]]:
        """Group unfinished objects by producer, and mark them as finished."""
        groups: dict[LeaseOwner, list[HeldObject]] = defaultdict(list)
        count = 0
        now = time.monotonic()
        for held in objects:
            if held.is_over:
                continue
            held.is_over = True
            self._held.discard(held)
            groups[held.lessor].append(held)
            count += 1
            if worked:
                metrics.OBJECT_SECONDS.observe(now - held.received)
        if worked:
            self._pace.finished(count)
        self._note()
        return groups

    def _note(self) -> None:
        metrics.IN_FLIGHT.set(len(self._held))
        (self._empty.clear if self._held else self._empty.set)()


def _failure(held: HeldObject) -> Failure:
    reason, detail = held.fault or (Reason.UNREADABLE, "")
    log.info("object can't be classified", object=held.item.id, job=held.item.job, reason=reason, detail=detail[:200])
    return Failure(id=held.item.id, reason=reason, detail=detail[:500])
