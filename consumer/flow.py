"""What the stages share: the lanes between them, the room that bounds them, and the desk where an object's way ends."""

from __future__ import annotations

import time
from typing import Final

from consumer.cache import Cache
from consumer.credit import Pace
from consumer.desk import Desk
from consumer.held import Held
from consumer.lane import Lane, Room
from sluice.settings import MIB, Settings

ROOM_BYTES: Final = 48 * MIB
PIXEL_BYTES: Final = 48 * MIB


def _pixel_bytes(held: Held) -> int:
    return 0 if held.pixels is None else held.pixels.nbytes


class Flow:
    """The lanes in the order in which an object passes them."""

    def __init__(self, settings: Settings) -> None:
        self.pace = Pace(settings.window, settings.window_seconds, time.monotonic())
        self.cache = Cache(settings.cache_entries)
        self.desk = Desk(self.cache, self.pace)
        self.room = Room(ROOM_BYTES)
        self.alone = Lane("alone")
        self.received = Lane("received")
        self.fetched = Lane("fetched")
        self.decoded = Lane("decoded", PIXEL_BYTES, _pixel_bytes)
        self.answered = Lane("answered")
        self.under_way = 0
        """Objects in the hands of fetch or decode: in no lane, though about to come into one."""

    @property
    def more_is_coming(self) -> bool:
        """Say whether the lane of decoded objects will get more without anything new coming in."""
        return bool(self.under_way or self.received or self.fetched)

    def accept(self, objects: list[Held]) -> None:
        """Put what a producer leased into the lane where its way begins."""
        self.desk.accept(objects)
        for held in objects:
            held.weight = len(held.data or b"")
            self.room.add(held.weight)
        self.alone.put_now([held for held in objects if held.item.alone])
        self.fetched.put_now([held for held in objects if not held.item.alone and held.item.inline])
        self.received.put_now([held for held in objects if not held.item.alone and not held.item.inline])

    def drop_unbegun(self, lessor: object | None = None) -> None:
        """Give back what no stage has touched yet: all of it, or what one session leased."""
        for lane in (self.alone, self.received, self.fetched):
            dropped = lane.take_now(len(lane), lambda held: lessor is None or held.lessor is lessor)
            self.room.release(sum(held.weight for held in dropped))
            self.desk.give_back(dropped)
