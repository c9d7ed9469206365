"""Decides whether a failing batch or its address is at fault. No I/O here: the balancer sends and waits.

No single answer is trusted: TorchServe says 503 when a handler raises, and 500 when another batch killed the worker.
A failure counts against a batch once its address has predicted something else afterwards, and against the address if
that failed in between. A batch with such evidence is halved until the image is alone. The image is at fault after
three failures on two addresses, or two failures if there is only one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from sluice.errors import Exhausted, InferenceError, TimedOut
from sluice.inference.route import Route

FAILURES: Final = 3
FAILURES_ONLY_ADDRESS: Final = 2
ADDRESSES: Final = 2
PREDICTIONS_BATCH: Final = 1
PREDICTIONS_ALONE: Final = 2
"""Predictions of something else after each failure: a needless halving costs a request, a wrong verdict an image."""
LATE_FACTOR: Final = 3.0
"""A batch without an answer gets this much more time, so that TorchServe's own timeout shows whose fault it was."""


class BatchDecision(Enum):
    """What to do with a batch."""

    ASK = "ask"
    HALVE = "halve"
    GUILTY = "guilty"


class SentBatch:
    """One request for a batch: its route, its time, and the route's number of outages at that time."""

    def __init__(self, route: Route, at: float) -> None:
        self.route = route
        self.at = at
        self.outages = route.outages


@dataclass(frozen=True, slots=True)
class _Failure:
    """A request without predictions, and the number of predictions that its address had given by then."""

    sent: SentBatch
    successes: int
    condemns: bool

    @property
    def route(self) -> Route:
        return self.sent.route


class BatchEvidence:
    """The evidence against one batch."""

    def __init__(self, count: int, *, is_late: bool = False) -> None:
        self.count = count
        self.said = ""
        self._is_late = is_late
        self._failures: list[_Failure] = []

    def of_part(self, count: int) -> BatchEvidence:
        """Start again with a part of the batch; only whether it needs more time is kept."""
        return BatchEvidence(count, is_late=self._is_late)

    def add(self, sent: SentBatch, error: InferenceError) -> None:
        """Record a failure.

        A batch without an answer may have queued behind another one that hangs, and a batch that ran out of memory is
        only too large. Both are a reason to halve it, and never enough to quarantine an image.
        """
        condemns = not isinstance(error, TimedOut | Exhausted)
        self._failures.append(_Failure(sent, sent.route.successes, condemns))
        self._is_late = self._is_late or isinstance(error, TimedOut)
        if condemns or not self.said:
            self.said = str(error).removeprefix(f"{sent.route.endpoint.url} ")

    def seconds(self, usual: float) -> float:
        """Return how long to wait for an answer."""
        return usual * LATE_FACTOR if self._is_late else usual

    def look(self, routes: Sequence[Route]) -> bool:
        """Drop failures that an outage or a removed address explains; return whether the rest is proved."""
        self._failures = [
            failure
            for failure in self._failures
            if failure.route.outages == failure.sent.outages and any(failure.route is route for route in routes)
        ]
        return len(self._proved()) == len(self._failures)

    def failures_on(self, route: Route) -> int:
        """Count the failures on one route."""
        return sum(failure.route is route for failure in self._failures)

    def decision(self, routes: Sequence[Route]) -> BatchDecision:
        """Return what to do next, given the `routes` to all addresses of the model."""
        proved = self._proved()
        if self.count > 1:
            return BatchDecision.HALVE if proved else BatchDecision.ASK
        answers = [failure.route for failure in proved if failure.condemns]
        if len(answers) < (FAILURES_ONLY_ADDRESS if len(routes) == 1 else FAILURES):
            return BatchDecision.ASK
        others = [route for route in routes if route.is_up and not self.failures_on(route)]
        return (
            BatchDecision.ASK if others and len({id(route) for route in answers}) < ADDRESSES else BatchDecision.GUILTY
        )

    @property
    def wanted(self) -> int:
        """Return the number of other predictions that prove a failure."""
        return PREDICTIONS_ALONE if self.count == 1 else PREDICTIONS_BATCH

    def _proved(self) -> list[_Failure]:
        return [failure for failure in self._failures if failure.route.successes >= failure.successes + self.wanted]
