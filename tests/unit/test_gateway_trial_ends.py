"""Trials by the gateway: what its routes make of the ledger's errors."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.api.trials import stop
from gateway.doors.person import Person, Role
from gateway.problems import status_of
from sluice.errors import LedgerError, LedgerUnavailable, SluiceError
from sluice.ledger import trials


@pytest.mark.parametrize(
    ("error", "status"), [(LedgerUnavailable("no answer"), 503), (LedgerError("trial 1 has ended"), 409)]
)
def test_a_trial_that_cant_be_stopped_now_is_not_said_to_have_ended(error: LedgerError, status: int) -> None:
    async def run(work: object, *_: object) -> object:
        if work is trials.stop:
            raise error
        return work

    parts = cast("Any", SimpleNamespace(ledger=SimpleNamespace(run=run)))
    with pytest.raises(SluiceError) as told:
        asyncio.run(stop(parts, Person(1, "", "", Role.ADMIN), 1))
    assert status_of(told.value) == status
