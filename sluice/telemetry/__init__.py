"""How a process is observed: structured logs, Prometheus metrics, and health."""

from sluice.telemetry import metrics
from sluice.telemetry.health import Health, HealthServer, serve
from sluice.telemetry.ledger import LedgerTelemetry
from sluice.telemetry.logs import configure, get_logger

__all__ = ["Health", "HealthServer", "LedgerTelemetry", "configure", "get_logger", "metrics", "serve"]
