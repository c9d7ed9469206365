"""What a process says of itself: structured logs, Prometheus metrics, and whether it lives and would do work."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sluice.telemetry import metrics
    from sluice.telemetry.health import Health, HealthServer, serve
    from sluice.telemetry.logs import configure, get_logger

__all__ = ["Health", "HealthServer", "configure", "get_logger", "metrics", "serve"]

HOMES: Final = {
    "Health": "health",
    "HealthServer": "health",
    "serve": "health",
    "configure": "logs",
    "get_logger": "logs",
}

if not TYPE_CHECKING:
    # The ledger counts its retries, so `sluice status` comes by here too: it needs neither logs nor a server, and
    # importing them would be a quarter of its time. A submodule (`metrics`) is found by the import itself.
    def __getattr__(name):  # noqa: ANN001, ANN202 - hidden from type checkers, which read the imports above
        if name not in HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{HOMES[name]}"), name)
