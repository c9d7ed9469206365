"""Telemetry of a ledger connection: retries and lock waits are counted, long waits are logged."""

from __future__ import annotations

import time
from typing import Final

from sluice.telemetry import metrics
from sluice.telemetry.logs import get_logger

log = get_logger()

QUIET_SECONDS: Final = 5.0
"""Minimum seconds between two log lines."""
HOSTS_NAMED: Final = 20
"""Only so many hosts get their own time series, since pods come and go."""


class LedgerTelemetry:
    """Counts events of a connection, and logs now and then who was waited for."""

    def __init__(self) -> None:
        self._said_at = float("-inf")
        self._hosts: set[str] = set()

    def retried(self, cause: str) -> None:
        """Count a transaction that failed for now."""
        metrics.LEDGER_RETRIES.labels(cause=cause).inc()

    def waited(self, host: str, who: str, objects: int) -> None:
        """Count a lock wait timeout for rows that `who` on `host` keeps locked; `objects` is how many are waiting."""
        if len(self._hosts) < HOSTS_NAMED:
            self._hosts.add(host)
        metrics.LEDGER_LOCK_WAITS.labels(holder=host if host in self._hosts else "others").inc()
        now = time.monotonic()
        if now - self._said_at >= QUIET_SECONDS:
            self._said_at = now
            waiting = {"objects": objects} if objects else {}
            log.warning("rows stay locked by another transaction", by=who, **waiting)
