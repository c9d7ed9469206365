"""How far a training is: written by the thread that trains, read by the one that tells the ledger."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from sluice.errors import TrainingStopped
from sluice.ledger.trainings import Reached

SETTLED_SECONDS: Final = 2.0
"""A pace that was measured for less isn't told."""


class TrainingProgress:
    """The stage of a training, what is done of it, and whether it should stop."""

    def __init__(
        self, each_step: Callable[[str], None] = lambda _: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`each_step` is called with the stage at each step."""
        self._each_step = each_step
        self._clock = clock
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._begun = clock()
        self._began_at = 0
        self.stage, self.done, self.total = "", 0, 0
        self.message = ""
        self._came_further = False

    def begin(self, stage: str, total: int, done: int = 0) -> None:
        """Begin a stage of so many steps, of which some may be done."""
        self.check()
        with self._lock:
            self.stage, self.done, self.total = stage, done, total
            self._begun, self._began_at = self._clock(), done

    def step(self) -> None:
        """Count a step; raise TrainingStopped if it was the last one for now."""
        self.check()
        with self._lock:
            self.done += 1
        self._each_step(self.stage)

    def keep(self) -> None:
        """Note that what was done up to here survives this process."""
        with self._lock:
            self._came_further = True

    def reached(self) -> Reached:
        """Return how far it is, for the ledger."""
        eta = self.eta_seconds()
        with self._lock:
            came, self._came_further = self._came_further, False
            return Reached(self.stage, self.done, self.total, eta, self.message, came)

    def stop(self) -> None:
        """Have the training stop at its next step."""
        self._stopped.set()

    def check(self) -> None:
        """Raise TrainingStopped if somebody called `stop`."""
        if self._stopped.is_set():
            raise TrainingStopped("the training stops here for now")

    def eta_seconds(self) -> float | None:
        """Return how long the stage will still take, by its pace so far; None if nobody knows."""
        with self._lock:
            spent, steps = self._clock() - self._begun, self.done - self._began_at
            if steps <= 0 or spent < SETTLED_SECONDS:
                return None
            return max(0.0, (self.total - self.done) * spent / steps)
