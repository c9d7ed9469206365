"""A bound on the memory that all threads of a process decode in at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final


class PixelBudget:
    """Admits images while their pixels' bytes fit; an image larger than the budget is admitted alone."""

    def __init__(self, size: int) -> None:
        self._size: Final = size
        self._taken = 0
        self._changed = threading.Condition()
        self._door = threading.Lock()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Wait until there is space, and reserve it during the block."""
        share = min(size, self._size)
        # The first in the queue holds the lock, so small images that come later can't delay a large one forever.
        with self._door, self._changed:
            self._changed.wait_for(lambda: self._taken + share <= self._size)
            self._taken += share
        try:
            yield
        finally:
            with self._changed:
                self._taken -= share
                self._changed.notify_all()
