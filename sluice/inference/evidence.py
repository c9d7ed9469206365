"""Whose fault it is that a batch fails: the batch's or the address's? No I/O here, the balancer asks and waits.

No answer is trusted for itself: TorchServe says 503 when a handler raises, and 500 when somebody else killed its
worker. A failure speaks against a batch once its address has given a prediction of something else after it, and
against the address if that went wrong in between. A batch that something speaks against is halved, until the image
stands alone; that one is at fault after it failed three times on two addresses, or twice on the only one.
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
"""Predictions of something else after each failure; halving in vain costs a request, a wrong verdict an image."""
LATE_FACTOR: Final = 3.0
"""Where a batch got no answer in time, it gets more of it: TorchServe's own time-out then says whose fault it was."""


class BatchDecision(Enum):
    """What to do with a batch."""

    ASK = "ask"
    HALVE = "halve"
    GUILTY = "guilty"


class SentBatch:
    """One request for a batch: where it went, when, and how often that address had been unwell by then."""

    def __init__(self, route: Route, at: float) -> None:
        self.route = route
        self.at = at
        self.outages = route.outages


@dataclass(frozen=True, slots=True)
class _Failure:
    """A request that gave no predictions, and how many its address had given by then."""

    sent: SentBatch
    successes: int
    condemns: bool

    @property
    def route(self) -> Route:
        return self.sent.route


class BatchEvidence:
    """What speaks against one batch."""

    def __init__(self, count: int, *, is_late: bool = False) -> None:
        self.count = count
        self.said = ""
        self._is_late = is_late
        self._failures: list[_Failure] = []

    def of_part(self, count: int) -> BatchEvidence:
        """Begin anew with a part of the batch; only whether it needs more time is taken over."""
        return BatchEvidence(count, is_late=self._is_late)

    def add(self, sent: SentBatch, error: InferenceError) -> None:
        """Note a failure.

        A batch without an answer may have stood behind another one that hangs, and one that memory was lacking for is
        merely too large: that is a reason to halve it, and never enough to condemn an image.
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
        """Forget what an outage, or an address that is gone, explains; say whether all the rest is proved."""
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
        """Say what follows, where `routes` lead to all addresses of the model."""
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
        """Return how many predictions of something else prove a failure."""
        return PREDICTIONS_ALONE if self.count == 1 else PREDICTIONS_BATCH

    def _proved(self) -> list[_Failure]:
        return [failure for failure in self._failures if failure.route.successes >= failure.successes + self.wanted]
