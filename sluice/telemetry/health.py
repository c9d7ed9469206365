"""Liveness and readiness of a process, served over HTTP next to its metrics.

/live fails only if the event loop hangs, so a busy or waiting process is never restarted for it. /ready fails while any
condition that the process set is false; its body has the reasons.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

from prometheus_client import REGISTRY
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from sluice.errors import ConfigurationError

if TYPE_CHECKING:
    from sluice.settings import Settings

STALLED_SECONDS: Final = 60.0
REQUEST_SECONDS: Final = 5.0


class Health:
    """The conditions of one process; written by its event loop, read by the HTTP threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._reasons: dict[str, str] = {"start": "starting"}
        self._ticked = clock()

    def set(self, name: str, ok: bool, why: str = "") -> None:  # noqa: FBT001 - read as a sentence: set("ledger", ok=True)
        """Set whether the condition `name` holds, or why it doesn't."""
        with self._lock:
            self._reasons.pop("start", None)
            if ok:
                self._reasons.pop(name, None)
            else:
                self._reasons[name] = why

    def tick(self) -> None:
        """Record that the event loop runs."""
        self._ticked = self._clock()

    def reasons(self) -> dict[str, str]:
        """Return what keeps this process from working; empty when it is ready."""
        with self._lock:
            return dict(self._reasons)

    @property
    def lives(self) -> bool:
        """Return whether the event loop ran recently."""
        return self._clock() - self._ticked < STALLED_SECONDS


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, health: Health) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _handler(health))


class HealthServer:
    """The HTTP server; `port` is the port that it got."""

    def __init__(self, host: str, port: int, health: Health) -> None:
        self._server = _Listener(host, port, health)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


def serve(settings: Settings, health: Health) -> HealthServer | None:
    """Start the server if the settings have a port for it."""
    if settings.metrics_port == 0:
        return None
    try:
        return HealthServer(settings.metrics_host, settings.metrics_port, health)
    except OSError as error:
        raise ConfigurationError(
            f"/metrics can't be served on {settings.metrics_host}:{settings.metrics_port} ({error.strerror}): "
            "give SLUICE_METRICS_HOST an address of this machine and SLUICE_METRICS_PORT a free port, or 0 for none"
        ) from error


def _handler(health: Health) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_SECONDS

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(HTTPStatus.OK, generate_latest(REGISTRY), CONTENT_TYPE_LATEST)
            elif self.path == "/live":
                self._say(health.lives, "lives" if health.lives else f"no sign of life for {STALLED_SECONDS:.0f} s")
            elif self.path == "/ready":
                reasons = health.reasons()
                self._say(not reasons, "\n".join(f"{name}: {why}" for name, why in reasons.items()) or "ready")
            else:
                self._answer(HTTPStatus.NOT_FOUND, b"try /metrics, /live or /ready\n", "text/plain")

        def _say(self, ok: bool, text: str) -> None:  # noqa: FBT001 - private, read in one place
            status = HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, f"{text}\n".encode(), "text/plain; charset=utf-8")

        def _answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Log nothing, since probes are frequent."""

    return Handler
