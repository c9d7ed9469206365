"""What the stages share: the queues between them, the byte budget that bounds them, and the end of an object's way."""

from __future__ import annotations

import time
from typing import Final

from consumer.cache import AnswerCache
from consumer.credit import CreditPacer
from consumer.held import HeldObject
from consumer.in_flight import InFlight
from consumer.queues import ByteBudget, StageQueue
from sluice.settings import MIB, Settings

ROOM_BYTES: Final = 48 * MIB
PIXEL_BYTES: Final = 48 * MIB
CHANNELS: Final = 3


def _pixel_bytes(held: HeldObject) -> int:
    """Return the size of what waits for the model; the pixels for a candidate may be the same."""
    own = 0 if held.pixels is None else held.pixels.nbytes
    others = held.candidate.pixels if held.candidate else None
    return own if others is None or others is held.pixels else own + others.nbytes


def _tried_bytes(held: HeldObject) -> int:
    """Return the size of what waits for a candidate: at most so much, since the same bytes' objects share pixels."""
    own = 0 if held.pixels is None else held.pixels.nbytes
    return own if held.candidate is None else own + CHANNELS * held.candidate.trial.preprocessing.crop**2


class Pipeline:
    """The queues in the order in which an object passes through them."""

    def __init__(self, settings: Settings) -> None:
        self.pace = CreditPacer(settings.window, settings.window_seconds, time.monotonic())
        self.cache = AnswerCache(settings.cache_entries)
        self.in_flight = InFlight(self.cache, self.pace)
        self.budget = ByteBudget(ROOM_BYTES)
        self.alone = StageQueue("alone")
        self.received = StageQueue("received")
        self.fetched = StageQueue("fetched")
        self.decoded = StageQueue("decoded", PIXEL_BYTES, _pixel_bytes)
        self.tried = StageQueue("tried", PIXEL_BYTES, _tried_bytes)
        self.answered = StageQueue("answered")
        self.trying = 0
        """Objects that wait for a candidate. They take no credit from the others, which keep their model busy."""
        self.under_way = 0
        """Objects that fetch or decode hold: in no queue now, but soon in the next one."""

    @property
    def more_is_coming(self) -> bool:
        """Return whether more decoded objects will come from what is already here."""
        return bool(self.under_way or self.received or self.fetched)

    async def pass_on(self, objects: list[HeldObject]) -> None:
        """Put answered objects into their next queue: those that a candidate answers beside the model wait for it."""
        self.answered.put_now([held for held in objects if not (held.candidate and held.candidate.is_open)])
        await self.try_out([held for held in objects if held.candidate and held.candidate.is_open])

    async def try_out(self, objects: list[HeldObject]) -> None:
        """Put objects into the queue of those that wait for a candidate."""
        if objects:
            self.trying += len(objects)
            await self.tried.put(objects)

    def accept(self, objects: list[HeldObject]) -> None:
        """Put leased objects into their first queue."""
        self.in_flight.accept(objects)
        for held in objects:
            held.weight = len(held.data or b"")
            self.budget.add(held.weight)
        self.alone.put_now([held for held in objects if held.item.alone])
        self.fetched.put_now([held for held in objects if not held.item.alone and held.item.inline])
        self.received.put_now([held for held in objects if not held.item.alone and not held.item.inline])

    def drop_unbegun(self, lessor: object | None = None) -> None:
        """Give back objects that no stage has begun: all of them, or those that one session leased."""
        for queue in (self.alone, self.received, self.fetched):
            dropped = queue.take_now(len(queue), lambda held: lessor is None or held.lessor is lessor)
            self.budget.release(sum(held.weight for held in dropped))
            self.in_flight.give_back(dropped)
