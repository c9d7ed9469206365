"""What is known of one model at one endpoint; no I/O here, the balancer does that.

A route is up while predictions come back. It starts down, and a probe (a prediction of one blank image) brings it up.
"""

from __future__ import annotations

from typing import Final

from sluice.backoff import Backoff
from sluice.domain import Model
from sluice.inference.client import Endpoint

PROBE_FIRST: Final = 0.25
PROBE_MOST: Final = 2.0
PROBE_UNWANTED: Final = 30.0
FULL_FIRST: Final = 0.1
FULL_MOST: Final = 2.0


class Route:
    """One model at one endpoint: is it up, how much does it take, when is it looked at next."""

    def __init__(self, endpoint: Endpoint, model: Model, most: int) -> None:
        self.endpoint = endpoint
        self.model = model
        self.is_up = False
        self.is_probed = False
        self.why = "no prediction has come back yet"
        self.outstanding = 0
        self.successes = 0
        self.outages = 0
        """How often it was found to be unwell by itself: unreachable, another server, or wrong about a blank image."""
        self.failures = 0
        """Predictions that it has to give before it is believed to be well again."""
        self.last_success = 0.0
        self.next_probe = 0.0
        self.not_before = 0.0
        self._most = float(most)
        self._limit = float(most)
        self._full_waits = Backoff(FULL_FIRST, FULL_MOST)
        self._probe_waits = Backoff(PROBE_FIRST, PROBE_MOST)

    def can_take(self, now: float) -> bool:
        """Return whether a request may be sent at this moment."""
        return self.is_up and now >= self.not_before and self.outstanding < int(self._limit)

    def answered(self, now: float) -> None:
        """Note a prediction: the route is up, and may carry a little more than before."""
        self.is_up = True
        self.why = ""
        self.successes += 1
        self.failures = max(0, self.failures - 1)
        self.last_success = now
        self._limit = min(self._most, self._limit + 1 / self._limit)
        self._full_waits.reset()
        self._probe_waits.reset()
        self.not_before = 0.0

    def overloaded(self, now: float) -> None:
        """Note a 503: wait a little, then send half as much at once. The route stays as it was, up or down."""
        self._limit = max(1.0, self._limit / 2)
        self.not_before = now + self._full_waits.next()

    def doubted(self, now: float, wanted: int) -> None:
        """Note that a batch failed here, by its own fault or not: probed at once, until it has predicted so often."""
        if not self.failures:
            self.next_probe = min(self.next_probe, now)
        self.failures = max(self.failures, wanted)

    def failed(self, now: float, why: str, *, is_outage: bool) -> None:
        """Note that no prediction came back: down, and probed at once."""
        if self.is_up:
            self.next_probe = now
        self.is_up = False
        self.why = why
        self.outages += is_outage

    def next_look(self, idle_seconds: float) -> float | None:
        """Return when to probe; None while that is running, or while requests tell as much."""
        if self.is_probed or (self.is_up and self.outstanding and not self.failures):
            return None
        if self.is_up and not self.failures:
            return max(self.last_success + idle_seconds, self.next_probe)
        return self.next_probe

    def probe_failed(self, now: float, why: str, *, wanted: bool, is_outage: bool) -> None:
        """Note that it is still down: probe again, later each time, though soon enough to see it return."""
        self.is_up = False
        self.why = why
        self.outages += is_outage
        self.next_probe = now + self._probe_waits.next(PROBE_MOST if wanted else PROBE_UNWANTED)
