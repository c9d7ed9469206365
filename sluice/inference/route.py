"""The state of one model at one endpoint; no I/O here: the balancer sends the requests.

A route is up while it returns predictions. It starts down, and a probe (predicting one blank image) brings it up.
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
    """One model at one endpoint: whether it is up, how many requests it takes, and when to probe it next."""

    def __init__(self, endpoint: Endpoint, model: Model, most: int) -> None:
        self.endpoint = endpoint
        self.model = model
        self.is_up = False
        self.is_probed = False
        self.why = "no prediction has come back yet"
        self.outstanding = 0
        self.successes = 0
        self.outages = 0
        """How often it was unwell without any batch: unreachable, another server, or wrong about a blank image."""
        self.failures = 0
        """Predictions that it must return before it counts as well again."""
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
        """Record a prediction: the route is up, and may take slightly more than before."""
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
        """Record a 503: wait a little, then send half as much at once. The route stays up or down."""
        self._limit = max(1.0, self._limit / 2)
        self.not_before = now + self._full_waits.next()

    def doubted(self, now: float, wanted: int) -> None:
        """Record that a batch failed here, by any fault: probe at once, until there are `wanted` predictions."""
        if not self.failures:
            self.next_probe = min(self.next_probe, now)
        self.failures = max(self.failures, wanted)

    def failed(self, now: float, why: str, *, is_outage: bool) -> None:
        """Record a request without prediction: the route is down, and probed at once."""
        if self.is_up:
            self.next_probe = now
        self.is_up = False
        self.why = why
        self.outages += is_outage

    def next_look(self, idle_seconds: float) -> float | None:
        """Return when to probe; None while a probe runs, or while requests show its state anyway."""
        if self.is_probed or (self.is_up and self.outstanding and not self.failures):
            return None
        if self.is_up and not self.failures:
            return max(self.last_success + idle_seconds, self.next_probe)
        return self.next_probe

    def probe_failed(self, now: float, why: str, *, wanted: bool, is_outage: bool) -> None:
        """Record that it is still down: probe again, with increasing waits, but soon enough to notice its return."""
        self.is_up = False
        self.why = why
        self.outages += is_outage
        self.next_probe = now + self._probe_waits.next(PROBE_MOST if wanted else PROBE_UNWANTED)
