"""A steady load: a job is told of so many pictures a second, evenly, through the queue of notifications."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Self

from sluice.domain import ListedObject

BEAT_SECONDS: Final = 0.05


class SteadyLoad:
    """Tells of pictures that are in the bucket already, in a thread, while it is entered."""

    def __init__(
        self, pictures: Iterable[ListedObject], rate: float, tell: Callable[[Sequence[ListedObject]], None]
    ) -> None:
        """`tell` sends one message; with a rate of 0 nothing is told."""
        self._pictures = iter(pictures)
        self._rate = rate
        self._tell = tell
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self.told = 0
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while self._rate and not self._stop.wait(BEAT_SECONDS):
            self.seconds = time.monotonic() - began
            due = list(itertools.islice(self._pictures, due_now(self._rate, self.seconds, self.told)))
            if due:
                self._tell(due)
                self.told += len(due)


def due_now(rate: float, seconds: float, told: int) -> int:
    """Return how many more pictures are due after so many seconds."""
    return max(0, int(rate * seconds) - told)
