"""The producer's connections to the ledger, and what they wait for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sluice.ledger import AsyncLedger, Database
from sluice.settings import Settings
from sluice.telemetry import LedgerTelemetry, get_logger
from sluice.telemetry.health import Health

log = get_logger()


def connect_observed(settings: Settings) -> Database:
    """Return a connection whose retries and waits are exported as metrics."""
    return Database(settings, LedgerTelemetry())


class LedgerConnections:
    """One connection for each kind of work, so that none waits for another's; opened at its first use.

    They wait for an absent database as long as it takes, and nothing fails because of it. What each waits for is one of
    the process's health conditions.
    """

    def __init__(
        self, settings: Settings, health: Health, connect: Callable[[Settings], Database] = connect_observed
    ) -> None:
        self._settings = settings
        self._connect = connect
        self._health = health
        self._waiting: dict[str, str] = {}
        self.lock = self._open("ledger-lock")
        self.read = self._open("ledger-read")
        self.write = self._open("ledger-write")
        self.control = self._open("ledger-control")
        self.trials = self._open("ledger-trials")
        self.drift = self._open("ledger-drift")

    def close(self) -> None:
        """Close all of them; the shard's lock is freed with its connection."""
        for ledger in (self.lock, self.read, self.write, self.control, self.trials, self.drift):
            ledger.close()

    def why_waiting(self) -> str:
        """Return what this process's connections wait for; one may write while another finds no disk space."""
        return next(iter(self._waiting.values()), "")

    def _open(self, name: str) -> AsyncLedger:
        return AsyncLedger(self._connect(self._settings), name, on_wait=partial(self._note, name))

    def _note(self, name: str, why: str) -> None:
        if not why:
            self._waiting.pop(name, None)
        elif why != self._waiting.get(name):
            self._waiting[name] = why
            log.warning("waiting for the ledger", connection=name, why=why)
        self._health.set(name, ok=not why, why=why)
