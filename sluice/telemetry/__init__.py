"""What a process says of itself: structured logs, Prometheus metrics, and whether it lives and would do work."""

from sluice.telemetry import metrics
from sluice.telemetry.health import Health, HealthServer, serve
from sluice.telemetry.ledger import LedgerTelemetry
from sluice.telemetry.logs import configure, get_logger

__all__ = ["Health", "HealthServer", "LedgerTelemetry", "configure", "get_logger", "metrics", "serve"]
