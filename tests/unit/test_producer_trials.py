"""Which jobs' objects meet a candidate."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from producer.trials import TrialControl
from sluice.settings import read_settings


class OneTrial:
    """A ledger whose only trial is of the jobs of version 1."""

    def __init__(self, *, shadow: bool, state: str = "running") -> None:
        self.trial = SimpleNamespace(id=7, live_id=1, state=state, wish=SimpleNamespace(shadow=shadow))

    async def run(self, *_: object) -> list[SimpleNamespace]:
        return [self.trial]


@pytest.mark.parametrize(
    ("ledger", "jobs"),
    [
        (OneTrial(shadow=True), {1: 7, 2: 7, 3: 0}),
        (OneTrial(shadow=False), {1: 7, 2: 0, 3: 0}),
        (OneTrial(shadow=True, state="pending"), {1: 0, 2: 0, 3: 0}),
    ],
)
def test_jobs_of_the_live_version_meet_it(ledger: OneTrial, jobs: dict[int, int]) -> None:
    """Those that name their version get no other's answers instead."""
    control = TrialControl(read_settings(), cast("Any", SimpleNamespace(control=ledger)))
    running: list[Any] = [
        SimpleNamespace(id=1, model="drugs", model_id=1),
        SimpleNamespace(id=2, model="drugs@1.0", model_id=1),
        SimpleNamespace(id=3, model="other", model_id=2),
    ]
    asyncio.run(control.look(running))
    assert {job: control.of_job(job) for job in jobs} == jobs
