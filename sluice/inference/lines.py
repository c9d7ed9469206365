"""Small requests to TorchServe from the event loop: somebody waits for them, and no thread has to wake up for one.

Large ones have threads, which send them without a copy. An answer that isn't plain (in chunks, say) is asked for again
by a thread, whose client understands all of HTTP.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlsplit

from sluice.domain import Model
from sluice.errors import EndpointDown, TimedOut
from sluice.images import BATCH_TYPE
from sluice.inference.client import ANSWER_MAX_BYTES, CONNECT_SECONDS, Endpoint, TorchServeClient, judged, parsed
from sluice.inference.wire import Answer, Refusal, path
from sluice.lines import IDLE_SECONDS, HttpAnswer, HttpLine

PORT: Final = 80
SMALL_BYTES: Final = 1024 * 1024
STATUSES: Final = range(200, 600)
ENDPOINTS: Final = 64
"""To so many endpoints connections are kept."""
ODD_SECONDS: Final = 60.0
"""So long an endpoint whose answer wasn't plain is left to threads."""


class EndpointLines:
    """Asks endpoints for predictions, by connections of its own or by a client in threads."""

    def __init__(self, client: TorchServeClient) -> None:
        self._client = client
        self._token = client.token.get_secret_value() if client.token is not None else ""
        self._idle: dict[Endpoint, list[HttpLine]] = {}
        self._odd_until: dict[Endpoint, float] = {}

    async def predict(
        self,
        endpoint: Endpoint,
        model: Model,
        body: bytes | bytearray,
        count: int,
        threads: ThreadPoolExecutor,
        seconds: float | None = None,
    ) -> list[Answer | Refusal]:
        """Return the answers for a packed batch of `count` images, or raise one of the InferenceErrors."""
        if len(body) <= SMALL_BYTES and self._takes(endpoint):
            found = await self._ask(endpoint, path(model), body, seconds or self._client.timeout)
            if found is not None and found.status == HTTPStatus.OK:
                return parsed(endpoint, found.data, model, count)
            if found is not None:
                raise judged(endpoint, found.status, found.data)
            self._odd_until[endpoint] = time.monotonic() + ODD_SECONDS
        call = partial(self._client.predict, endpoint, model, body, count, seconds)
        return await asyncio.get_running_loop().run_in_executor(threads, call)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        idle, self._idle = self._idle, {}
        for lines in idle.values():
            for line in lines:
                line.close()

    def _takes(self, endpoint: Endpoint) -> bool:
        """Return whether a request may go by a connection of its own; those over TLS have the client's certificates."""
        is_plain = time.monotonic() >= self._odd_until.get(endpoint, 0.0)
        return is_plain and not endpoint.is_tls and self._token.isascii() and self._token.isprintable()

    async def _ask(self, endpoint: Endpoint, where: str, body: bytes | bytearray, seconds: float) -> HttpAnswer | None:
        """Return an answer of any status, or raise EndpointDown or TimedOut; None: it isn't plain."""
        token = f"Authorization: Bearer {self._token}\r\n" if self._token else ""
        target = quote(urlsplit(endpoint.url).path + where, safe="/~-._")
        # Names as they are always written: TorchServe's workers tell Content-Type from content-type.
        request = (
            f"POST {target} HTTP/1.1\r\nHost: {endpoint.host}\r\n{token}"
            f"Content-Type: {BATCH_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        try:
            async with asyncio.timeout(seconds):
                return await self._send(endpoint, request, body)
        except TimeoutError:
            raise TimedOut(f"{endpoint.url} gives no answer in {seconds:g} s") from None

    async def _send(self, endpoint: Endpoint, request: bytes, body: bytes | bytearray) -> HttpAnswer | None:
        while (line := self._take(endpoint)) is not None:
            answer = await line.ask(request, ANSWER_MAX_BYTES, body)
            # The server may have closed it just now, before it saw the request.
            if answer is not None or line.has_begun:
                self._keep(endpoint, line)
                return answer
        line = await _connect(endpoint)
        answer = await line.ask(request, ANSWER_MAX_BYTES, body)
        if answer is None and not line.has_begun:
            raise EndpointDown(f"{endpoint.url} gives no answer: it closes the connection")
        self._keep(endpoint, line)
        return answer

    def _take(self, endpoint: Endpoint) -> HttpLine | None:
        """Return the connection that was used last, if the server has probably not closed it."""
        lines = self._idle.get(endpoint, [])
        while lines:
            line = lines.pop()
            if line.is_open and time.monotonic() - line.heard < IDLE_SECONDS:
                return line
            line.close()
        return None

    def _keep(self, endpoint: Endpoint, line: HttpLine) -> None:
        if not line.is_open:
            return
        if endpoint not in self._idle and len(self._idle) >= ENDPOINTS:
            self.close()  # addresses come and go; those that are used begin anew
        self._idle.setdefault(endpoint, []).append(line)


async def _connect(endpoint: Endpoint) -> HttpLine:
    parts = urlsplit(endpoint.url)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, line = await asyncio.get_running_loop().create_connection(
                partial(HttpLine, STATUSES), parts.hostname or "", parts.port or PORT
            )
    except TimeoutError:
        raise EndpointDown(f"{endpoint.url} gives no answer: no connection in time") from None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise EndpointDown(f"{endpoint.url} gives no answer: {why}") from None
    return line
