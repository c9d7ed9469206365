"""Comparing jobs for a request: what goes wrong beside it is told as anywhere else."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from gateway.comparer import Comparer
from sluice.errors import LedgerUnavailable
from sluice.ledger import comparisons
from sluice.ledger.comparisons import Comparison


class LeavingLedger:
    """A ledger that goes away when a slice is to be compared."""

    async def run(self, work: object, *_: object) -> Any:  # noqa: ANN401 - whatever the ledger's function is
        if work is comparisons.begin:
            return 1
        if work is comparisons.find:
            return Comparison(1, 1, 2, complete=False, share=0.0)
        raise LedgerUnavailable("the database gives no answer")


def test_a_ledger_that_goes_away_meanwhile_is_told_as_one_that_is_away() -> None:
    """Routes answer a LedgerUnavailable with 503, and when to come back."""
    with pytest.raises(LedgerUnavailable, match="gives no answer"):
        asyncio.run(Comparer(cast("Any", LeavingLedger())).compare(1, 2))
