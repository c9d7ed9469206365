"""Counts what commits measured, and tells by metrics which live models have drifted.

All shards do: each takes the versions that nobody else is at, so nothing waits if one shard's producer is gone.
"""

from __future__ import annotations

import asyncio
from typing import Final

from sluice.errors import LedgerError
from sluice.ledger import AsyncLedger, drift_pages, drifting
from sluice.settings import Settings
from sluice.telemetry import get_logger, metrics

log = get_logger()

COUNT_SECONDS: Final = 2.0


class DriftWatcher:
    """Works on a connection of its own, since counting may take longer than a look at the jobs may wait."""

    def __init__(self, settings: Settings, ledger: AsyncLedger) -> None:
        self._settings = settings
        self._ledger = ledger
        self._told: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Count until cancelled. A producer must not stop for it: it goes on with the next turn."""
        while True:
            try:
                await self.look()
            except LedgerError as error:
                log.warning("drift can't be looked at", why=str(error))
            await asyncio.sleep(COUNT_SECONDS)

    async def look(self) -> None:
        """Count what there is, and set the metrics."""
        for model_id in await self._ledger.run(drifting.models_to_count):
            while await self._ledger.run(
                drifting.count, model_id, self._settings.drift_window, self._settings.drift_days
            ):
                pass
        told = set()
        for found in await self._ledger.run(drift_pages.live):
            place = (found.model, found.statistic)
            told.add(place)
            metrics.DRIFT.labels(*place).set(found.psi)
            metrics.DRIFT_ALARM.labels(*place).set(found.alarm)
        for place in self._told - told:
            metrics.DRIFT.remove(*place)
            metrics.DRIFT_ALARM.remove(*place)
        self._told = told
