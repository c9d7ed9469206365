"""What a producer's metrics say of trials."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest
from prometheus_client import REGISTRY

from producer.ledger import LedgerConnections
from producer.trials import TrialControl
from sluice.ledger import Database, trials
from sluice.settings import Settings
from sluice.telemetry.health import Health
from tests.support.tried_jobs import Tried, add_tried_job, begin_trial

MODEL = {"model": "animals@2"}


def told(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, {**MODEL, **labels})


@pytest.mark.parametrize("shadow", [True, False])
def test_a_trial_is_told_of_until_it_ends(ledger: Database, settings: Settings, shadow: bool) -> None:  # noqa: FBT001
    trial = begin_trial(ledger, shadow=shadow)
    live = "cat" if shadow else ""
    add_tried_job(ledger, trial, {b"a": Tried(live, "cat"), b"b": Tried(live, "dog"), b"c": Tried("cat", "")})

    async def look() -> None:
        with closing(LedgerConnections(settings, Health())) as connections:
            control = TrialControl(settings, connections)
            await control.look([])
            await control.tell()
            mode = "shadow" if shadow else "canary"
            assert told("sluice_trial", mode=mode, state="running") == 1
            found = [told(f"sluice_trial_{name}") for name in ("share", "answered", "failed", "agreement")]
            assert found == [0.5, 2, 1, 0.5 if shadow else None]
            ledger.run(trials.stop, trial)
            await control.look([])
            await control.tell()
            assert told("sluice_trial", mode=mode, state="running") is told("sluice_trial_share") is None

    asyncio.run(look())
