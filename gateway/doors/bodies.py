"""Bodies: how large, and how slow, they may be; what is too large is refused before it is read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.problems import answer_error
from sluice.settings import Settings

SMALL: Final = 256 * 1024
"""Of what isn't pictures or archives."""
SILENT_SECONDS: Final = 20.0
GRACE_SECONDS: Final = 30.0
SLOWEST: Final = 8 * 1024
"""Bytes a second that a body comes with at least, once the grace is over."""


class Bodies:
    """Bounds the body of each request; `sizes` says for which paths (or `/above/*`) more than a little is taken."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        sizes: Mapping[str, Callable[[Settings], int]],
        silent_seconds: float = SILENT_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._app = app
        self._sizes = {path: size(settings) for path, size in sizes.items()}
        self._silent_seconds = silent_seconds
        self._grace_seconds = grace_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        most = self._sizes.get(path) or self._sizes.get(f"{path.rpartition('/')[0]}/*") or SMALL
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > most:
            refusal = await answer_error(
                Request(scope, receive), HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_large(most), {"Connection": "close"}
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, self._bounded(receive, most), send)

    def _bounded(self, receive: Receive, most: int) -> Receive:
        received = 0
        waited = 0.0
        is_whole = False

        async def receive_some() -> Message:
            nonlocal received, waited, is_whole
            if is_whole:
                return await receive()
            begun = time.monotonic()
            try:
                # Only waiting counts: what is done with the bytes meanwhile is not the sender's fault.
                async with asyncio.timeout(min(self._silent_seconds, self._left(received, waited))):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(
                    HTTPStatus.REQUEST_TIMEOUT, "the body came too slowly: send it again", {"Connection": "close"}
                ) from None
            waited += time.monotonic() - begun
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > most:
                    raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_large(most), {"Connection": "close"})
                is_whole = not message.get("more_body", False)
            return message

        return receive_some

    def _left(self, received: int, waited: float) -> float:
        """Return the seconds that may still be waited."""
        return max(0.0, self._grace_seconds + received / SLOWEST - waited)


def _too_large(most: int) -> str:
    return f"a request here may have {most:,} bytes at most: send less at once"
