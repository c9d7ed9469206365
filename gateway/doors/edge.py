"""What every request passes first and every answer last: the host's name, safe headers, a log line, metrics."""

from __future__ import annotations

import re
import time
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.doors.cookies import SEED, set_cookie
from gateway.doors.heads import as_get, without_body
from gateway.doors.origins import netloc
from gateway.doors.proxies import TrustedProxies
from gateway.problems import problem
from sluice.errors import ConfigurationError
from sluice.settings import Settings
from sluice.telemetry import get_logger, metrics

log = get_logger()

STATIC: Final = "/static/"
PATH_SHOWN: Final = 200
HEAD_BYTES: Final = 32 * 1024
CLOSED: Final = 499
"""Logged where the client went away before there was an answer."""
HOST: Final = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")
SAFETY: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With less, browsers wouldn't tell our own forms' origin.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
HTTPS_ONLY: Final = "max-age=31536000"


class Edge:
    """Wraps the whole application, its answers to its own faults included."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._proxies = TrustedProxies(settings.gateway_proxies)
        self._host = _host_of(settings.gateway_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = CLOSED
        self._proxies.correct(scope)
        method, scope = scope["method"], as_get(scope)
        if method == "HEAD":
            send = without_body(send)

        async def send_safely(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(scope, message)
            await send(message)

        try:
            refusal = _too_much(scope) or self._refusal(Headers(scope=scope).get("host", ""))
            await (refusal or self._app)(scope, receive, send_safely)
        finally:
            _note(scope, method, status, time.perf_counter() - begun)

    def _refusal(self, host: str) -> Response | None:
        if HOST.fullmatch(host) is None:
            return problem(HTTPStatus.BAD_REQUEST, "the header Host names no host")
        if self._host is not None and netloc(host) != self._host:
            return problem(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this name is not where Sluice is reached: SLUICE_GATEWAY_URL says where",
            )
        return None


def _too_much(scope: Scope) -> Response | None:
    """Refuse a head that came in one piece: uvicorn bounds only what comes in several."""
    if sum(len(name) + len(value) for name, value in scope["headers"]) <= HEAD_BYTES:
        return None
    why = f"a request's headers may have {HEAD_BYTES:,} bytes at most: send fewer, or delete this site's cookies"
    return problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, why)


def _host_of(url: str | None) -> str | None:
    """Return the host that people name, from SLUICE_GATEWAY_URL."""
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or HOST.fullmatch(parts.netloc) is None or parts.path not in {"", "/"}:
        raise ConfigurationError(f"SLUICE_GATEWAY_URL is {url!r}: expected https://HOST or https://HOST:PORT, no path")
    return netloc(parts.netloc)


def _add_headers(scope: Scope, message: Message) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in SAFETY.items():
        headers.setdefault(name, value)
    if scope["scheme"] == "https":
        headers["Strict-Transport-Security"] = HTTPS_ONLY
    if not scope["path"].startswith(STATIC):
        headers.setdefault("Cache-Control", "no-store")
    seed = scope.get("state", {}).get("seed")
    if seed:
        carrier = Response()
        set_cookie(HTTPConnection(scope), carrier, SEED, seed)
        headers.append("Set-Cookie", carrier.headers["set-cookie"])


def _note(scope: Scope, method: str, status: int, seconds: float) -> None:
    """Count a request; log it without its query, which may hold what nobody else should read."""
    is_static = scope["path"].startswith(STATIC)
    route = STATIC if is_static else getattr(scope.get("route"), "path", "unknown")
    metrics.GATEWAY_REQUESTS.labels(route=route, status=int(status)).inc()
    metrics.GATEWAY_SECONDS.labels(route=route).observe(seconds)
    if is_static:
        return
    person = scope.get("state", {}).get("person")
    log.info(
        "request",
        method=method,
        # As it was sent: decoded, it could begin a new line.
        path=scope.get("raw_path", b"").decode("ascii", "replace")[:PATH_SHOWN],
        status=int(status),
        milliseconds=round(1000 * seconds, 1),
        user=person.id if person else None,
        address=scope["client"][0] if scope.get("client") else None,
    )
