"""Connections over which requests go, one at a time each; plain HTTP/1.1, and only what S3 and TorchServe answer with.

An answer that isn't plainly what was asked for (another status, a length that isn't told, a body that ends early) is no
error here: it is None, and whoever asks does so in another way, which finds out what is wrong.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

HEAD_MAX: Final = 32 * 1024
FOUND: Final[Container[int]] = frozenset({HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT})
"""The statuses of answers that have an object."""
IDLE_SECONDS: Final = 20.0
"""Servers close connections that were idle for some time, and often longer than this."""
LOOK_SECONDS: Final = 1.0
LONGEST: Final = 6
"""An answer that still comes after so many times the timeout is given up."""
ONCE: Final = frozenset({"content-length", "content-range", "etag", "transfer-encoding"})
"""Headers of which an answer has one at most; of others the first counts."""
END_OF_HEAD: Final = b"\r\n\r\n"
STATUS: Final = slice(len("HTTP/1.1 "), len("HTTP/1.1 200"))
"""Where the status stands in a head."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The head and the bytes of an answer: of an object, a part of it, a prediction."""

    headers: Mapping[str, str]
    data: bytes
    status: int = HTTPStatus.OK


@dataclass(slots=True)
class _Exchange:
    """A request whose answer is awaited."""

    most: int
    ended: asyncio.Future[HttpAnswer | None]
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 0
    body: bytearray | None = None
    filled: int = 0


class HttpLine(asyncio.BufferedProtocol):
    """One connection. The body is received where it stays, so its bytes are copied once."""

    def __init__(self, statuses: Container[int] = FOUND) -> None:
        """`statuses`: of the answers that are plain."""
        self._statuses = statuses
        self._transport: asyncio.Transport | None = None
        self._head = bytearray(HEAD_MAX)
        self._in_head = 0
        self._exchange: _Exchange | None = None
        self.asked = 0.0
        """When the newest request went."""
        self.heard = 0.0
        """When the last bytes came, or the request went."""
        self.is_open = False
        self.is_given_up = False
        """Whether the answer took too long."""
        self.has_begun = False
        """Whether any byte of the answer has come."""

    async def ask(self, request: bytes, most: int, body: bytes | bytearray = b"") -> HttpAnswer | None:
        """Send a request and return its answer, of `most` bytes at most; None: it is something else."""
        if self._transport is None or not self.is_open:
            return None
        exchange = self._exchange = _Exchange(most, asyncio.get_running_loop().create_future())
        self._in_head, self.has_begun = 0, False
        self.asked = self.heard = time.monotonic()
        self._transport.writelines((request, body) if body else (request,))
        try:
            return await exchange.ended
        except BaseException:
            self.close()
            raise

    def give_up(self) -> None:
        """Close the connection because its answer takes too long."""
        self.is_given_up = True
        self.close()

    def close(self) -> None:
        """Close the connection; an answer that is awaited is None then."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()
        self._end(None)

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"{type(transport).__name__} is no stream")
        self._transport = transport
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is gone."""
        del exc
        self.is_open = False
        self._end(None)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go."""
        del sizehint
        exchange = self._exchange
        if exchange is None:
            return memoryview(self._head)
        if exchange.body is not None:
            return memoryview(exchange.body)[exchange.filled :]
        return memoryview(self._head)[self._in_head :]

    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes that came."""
        self.heard = time.monotonic()
        exchange = self._exchange
        if exchange is None:  # nothing was asked
            self.close()
        elif exchange.body is not None:
            exchange.filled += nbytes
            self._end_if_whole(exchange)
        else:
            self.has_begun = True
            before = max(0, self._in_head - len(END_OF_HEAD))
            self._in_head += nbytes
            end = self._head.find(END_OF_HEAD, before, self._in_head)
            if end >= 0:
                self._begin_body(exchange, end)
            elif self._in_head == len(self._head):
                self.close()

    def _begin_body(self, exchange: _Exchange, end: int) -> None:
        headers = read_head(bytes(self._head[:end]), self._statuses)
        length = _length(headers, exchange.most) if headers is not None else None
        first = self._head[end + len(END_OF_HEAD) : self._in_head]
        if headers is None or length is None or len(first) > length:
            self.close()
            return
        exchange.headers = headers
        exchange.status = int(self._head[STATUS])
        exchange.body = bytearray(length)
        exchange.body[: len(first)] = first
        exchange.filled = len(first)
        self._end_if_whole(exchange)

    def _end_if_whole(self, exchange: _Exchange) -> None:
        if exchange.body is None or exchange.filled < len(exchange.body):
            return
        self._end(HttpAnswer(exchange.headers, bytes(exchange.body), exchange.status))
        if exchange.headers.get("connection", "").lower() == "close":
            self.close()

    def _end(self, answer: HttpAnswer | None) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None and not exchange.ended.done():
            exchange.ended.set_result(answer)


class HttpLines:
    """The connections with one host. They belong to one event loop, and begin anew in another one."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None, timeout: float) -> None:
        self._address = host, port
        self._context = context
        self._timeout = timeout
        self._idle: list[HttpLine] = []
        self._busy: set[HttpLine] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._look: asyncio.TimerHandle | None = None

    async def ask(self, request: bytes, most: int, body: bytes = b"") -> HttpAnswer | None:
        """Send a request and return its answer, of `most` bytes at most; None: ask in another way.

        It may be sent twice, so it must be one that can be.
        """
        self._settle()
        while (line := self._take()) is not None:
            answer = await self._ask(line, request, most, body)
            # The server may have closed it just now, before it saw the request.
            if answer is not None or line.has_begun or line.is_given_up:
                return answer
        try:
            async with asyncio.timeout(self._timeout):
                _, line = await asyncio.get_running_loop().create_connection(
                    HttpLine, *self._address, ssl=self._context
                )
        except (OSError, ssl.SSLError):  # TimeoutError among them
            return None
        return await self._ask(line, request, most, body)

    def close(self) -> None:
        """Close all connections; whoever awaits an answer has None."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        lines, self._idle, self._busy = [*self._idle, *self._busy], [], set()
        if self._loop is not None and not self._loop.is_closed():
            for line in lines:
                line.close()

    async def _ask(self, line: HttpLine, request: bytes, most: int, body: bytes) -> HttpAnswer | None:
        self._busy.add(line)
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look_at_silent)
        try:
            answer = await line.ask(request, most, body)
        finally:
            self._busy.discard(line)
        if line.is_open:
            self._idle.append(line)
        return answer

    def _take(self) -> HttpLine | None:
        """Return the connection that was used last, if the server has probably not closed it."""
        now = time.monotonic()
        while self._idle:
            line = self._idle.pop()
            if line.is_open and now - line.heard < IDLE_SECONDS:
                return line
            line.close()
        return None

    def _look_at_silent(self) -> None:
        """Close connections that say nothing for too long: one timer for all of them costs less than one for each."""
        now = time.monotonic()
        for line in list(self._busy):
            if now - line.heard > self._timeout or now - line.asked > LONGEST * self._timeout:
                line.give_up()
        while self._idle and now - self._idle[0].heard > IDLE_SECONDS:
            self._idle.pop(0).close()
        wait = bool(self._busy or self._idle)
        self._look = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look_at_silent) if wait else None

    def _settle(self) -> None:
        """Leave the connections of another event loop to it."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self.close()
            self._loop = loop


def read_head(head: bytes, statuses: Container[int] = FOUND) -> dict[str, str] | None:
    """Return the headers of an answer of a status that is wanted; None: it is another one, or can't be read."""
    status, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = status.partition(" ")
    code = rest[:3]
    if version != "HTTP/1.1" or not (code.isascii() and code.isdigit()) or int(code) not in statuses:
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or (name in ONCE and name in headers):
            return None
        headers.setdefault(name, value.strip())
    return headers


def _length(headers: Mapping[str, str], most: int) -> int | None:
    """Return the body's length if it is told, plain, and at most so much."""
    told = headers.get("content-length", "")
    if "transfer-encoding" in headers or not (told.isascii() and told.isdigit()) or len(told) > len(str(most)):
        return None
    return int(told) if int(told) <= most else None
