"""The budget of pixels: a bound on memory, however many threads there are."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from sluice.images.budget import PixelBudget


def test_threads_together_never_hold_more_pixels_than_the_room_has() -> None:
    budget, lock = PixelBudget(100), threading.Lock()
    held, peak = 0, 0

    def decode(pixels: int) -> None:
        nonlocal held, peak
        with budget.hold(pixels):
            with lock:
                held += pixels
                peak = max(peak, held)
            with lock:
                held -= pixels

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, [30, 60, 10, 100, 45] * 200))
    assert peak <= 100


def test_an_image_larger_than_the_room_is_let_in() -> None:
    with PixelBudget(100).hold(1000):
        pass
