"""Follows the trials: which job's objects meet a candidate, and whether a trial begins or ends.

Every shard tells consumers of the trials that run. The first one begins them, asks their gates, ends them, and tells
by metrics how they do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client import Gauge

from producer.ledger import LedgerConnections
from sluice import ledger
from sluice.domain.gates import TrialEvidence
from sluice.ledger import Job, trial_progress
from sluice.ledger.trials import Trial
from sluice.settings import Settings
from sluice.telemetry import get_logger, metrics

log = get_logger()

LOOK_SECONDS: Final = 1.0
SHARE_OF_TIME: Final = 0.1
"""Reports may be many: asking the gates keeps the database busy for no larger part of the time."""


class TrialControl:
    """Knows each job's trial."""

    def __init__(
        self, settings: Settings, connections: LedgerConnections, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._is_first = settings.shard == 0
        self._connections = connections
        self._clock = clock
        self._of_job: dict[int, int] = {}
        self._active: list[Trial] = []
        self._told: set[tuple[Gauge, tuple[str, ...]]] = set()

    def of_job(self, job: int) -> int:
        """Return the trial that a job's objects are in; 0: none."""
        return self._of_job.get(job, 0)

    async def run(self) -> None:
        """Begin and end trials, forever; on a connection of its own, since jobs don't wait for this."""
        while self._is_first:
            began = self._clock()
            for trial in self._active:
                await self._attend(trial)
            await self.tell()
            await asyncio.sleep(max(LOOK_SECONDS, (self._clock() - began) / SHARE_OF_TIME))

    async def look(self, running: Sequence[Job]) -> None:
        """Find out which trials run, before the objects of new jobs are sent."""
        self._active = await self._connections.control.run(ledger.trials.active)
        trial_of = {trial.live_id: trial for trial in self._active if trial.state == "running"}
        self._of_job = {
            job.id: trial.id
            for job in running
            if (trial := trial_of.get(job.model_id or 0)) and (trial.wish.shadow or "@" not in job.model)
        }

    async def tell(self) -> None:
        """Set the metrics; those of an ended trial go."""
        active, counted = self._active, dict[int, TrialEvidence]()
        if active:
            counted = await self._connections.trials.run(trial_progress.counted, [trial.id for trial in active])
        told = set()
        for trial in active:
            for gauge, labels, value in _figures(trial, counted.get(trial.id, TrialEvidence())):
                gauge.labels(*labels).set(value)
                told.add((gauge, labels))
        for gauge, labels in self._told - told:
            gauge.remove(*labels)
        self._told = told

    async def _attend(self, trial: Trial) -> None:
        after = await self._connections.trials.run(ledger.trials.attend, trial.id)
        if after is not None and after.state != trial.state:
            log.info("trial changes", trial=trial.id, model=trial.wish.model, state=after.state, why=after.message)


def _figures(trial: Trial, counted: TrialEvidence) -> Iterator[tuple[Gauge, tuple[str, ...], float]]:
    model = trial.wish.model
    yield metrics.TRIAL, (model, trial.mode, trial.state), 1
    yield metrics.TRIAL_SHARE, (model,), trial.wish.share
    yield metrics.TRIAL_ANSWERED, (model,), counted.answered
    yield metrics.TRIAL_FAILED, (model,), counted.failed
    if trial.wish.shadow and counted.answered:
        yield metrics.TRIAL_AGREEMENT, (model,), counted.agreed / counted.answered
