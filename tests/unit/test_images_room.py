"""The room for pixels: a bound on memory that no number of threads exceeds."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from sluice.images.room import Room


def test_threads_together_never_hold_more_pixels_than_the_room_has() -> None:
    room, lock = Room(100), threading.Lock()
    held, peak = 0, 0

    def decode(pixels: int) -> None:
        nonlocal held, peak
        with room.hold(pixels):
            with lock:
                held += pixels
                peak = max(peak, held)
            with lock:
                held -= pixels

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, [30, 60, 10, 100, 45] * 200))
    assert peak <= 100


def test_an_image_larger_than_the_room_is_let_in() -> None:
    with Room(100).hold(1000):
        pass
