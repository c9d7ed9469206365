"""How fast a job's objects end. Pure: the control loop counts, and stores what this says."""

from __future__ import annotations

from typing import Final

SMOOTHING: Final = 0.4
STILL_SECONDS: Final = 10.0
"""When nothing has ended for so long, nobody can say when the rest will have."""
LONGEST_SECONDS: Final = 60.0
"""A job that moves again after a while is measured over this time at most."""


class JobRate:
    """The smoothed rate of one job, in objects per second; 0 while none end."""

    def __init__(self, now: float, ended: int) -> None:
        self.value = 0.0
        self._ended = ended
        self._moved = now

    def look(self, now: float, ended: int) -> float:
        """Note how many objects have ended by now, and return the rate."""
        new = max(0, ended - self._ended)
        self._ended = ended
        if new:
            current = new / (now - max(self._moved, now - LONGEST_SECONDS))
            self.value += (SMOOTHING if self.value else 1.0) * (current - self.value)
            self._moved = now
        elif now - self._moved >= STILL_SECONDS:
            self.value = 0.0
        return self.value
