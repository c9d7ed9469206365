"""What a process says of its ledger's connection: retries and waits are counted, long waits stand in the log."""

from __future__ import annotations

import time
from typing import Final

from sluice.telemetry import metrics
from sluice.telemetry.logs import get_logger

log = get_logger()

QUIET_SECONDS: Final = 5.0
"""At least so long between two lines in the log."""
HOSTS_NAMED: Final = 20
"""So many hosts get a time series of their own; pods come and go."""


class LedgerTelemetry:
    """Counts what a connection meets, and says in the log, now and then, who was waited for."""

    def __init__(self) -> None:
        self._said_at = float("-inf")
        self._hosts: set[str] = set()

    def retried(self, cause: str) -> None:
        """Count a transaction that failed for now."""
        metrics.LEDGER_RETRIES.labels(cause=cause).inc()

    def waited(self, host: str, who: str, objects: int) -> None:
        """Tell of one wait in vain for rows that `who` on `host` keeps locked; so many objects have to wait for it."""
        if len(self._hosts) < HOSTS_NAMED:
            self._hosts.add(host)
        metrics.LEDGER_LOCK_WAITS.labels(holder=host if host in self._hosts else "others").inc()
        now = time.monotonic()
        if now - self._said_at >= QUIET_SECONDS:
            self._said_at = now
            waiting = {"objects": objects} if objects else {}
            log.warning("rows stay locked by another transaction", by=who, **waiting)
