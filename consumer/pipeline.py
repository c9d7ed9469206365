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


def _pixel_bytes(held: HeldObject) -> int:
    return 0 if held.pixels is None else held.pixels.nbytes


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
        self.answered = StageQueue("answered")
        self.under_way = 0
        """Objects that fetch or decode hold: in no queue now, but soon in the next one."""

    @property
    def more_is_coming(self) -> bool:
        """Return whether more decoded objects will come from what is already here."""
        return bool(self.under_way or self.received or self.fetched)

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
