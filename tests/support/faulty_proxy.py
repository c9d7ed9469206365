"""A TCP proxy between consumers and a producer that injects network faults when a message of a kind passes.

It reads plain ZMTP 3: a greeting of 64 bytes, then frames; the first frame of a message is two bytes, version and kind.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, TypeVar

T = TypeVar("T")

GREETING: Final = 64
MORE, LONG, COMMAND = 1, 2, 4
DELAY_SECONDS: Final = 0.05

How = Literal["cut", "cut within", "producer's side", "consumer's side", "swallow", "delay"]
HOWS: Final[tuple[How, ...]] = ("cut", "cut within", "producer's side", "consumer's side", "swallow", "delay")


@dataclass(frozen=True)
class ProxyFault:
    """What happens when a message of one kind passes: it and everything after it is lost, or it is late."""

    kind: int
    how: How


class Frames:
    """Splits one direction's bytes into frames, and knows which of them begin a message."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self._begins = True

    async def next(self) -> tuple[bytes, int | None]:
        """Return a frame, and the kind of the message that begins with it."""
        flags = await self._stream.readexactly(1)
        size = await self._stream.readexactly(8 if flags[0] & LONG else 1)
        body = await self._stream.readexactly(int.from_bytes(size, "big"))
        if flags[0] & COMMAND:
            return flags + size + body, None
        begins, self._begins = self._begins, not flags[0] & MORE
        return flags + size + body, body[1] if begins and len(body) == 2 else None


@dataclass(eq=False)
class Link:
    """Two connections that are to look like one."""

    to_producer: asyncio.StreamWriter
    to_consumer: asyncio.StreamWriter
    is_dark: bool = False
    """One of them is gone, and the other side doesn't know: its data is dropped."""

    def cut(self) -> None:
        for side in (self.to_producer, self.to_consumer):
            side.transport.abort()


class FaultyProxy:
    """Forwards to `target` on loopback. Injects `faults` one after the other, each at the next message of its kind."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._links: set[Link] = set()
        self.faults: list[ProxyFault] = []
        self.done: list[ProxyFault] = []
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FaultyProxy]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()

    def cut(self) -> int:
        """Close all connections, with the data in transit; return how many there were."""
        links = list(self._links)
        for link in links:
            link.cut()
        return len(links)

    async def _serve(self, consumer: asyncio.StreamReader, to_consumer: asyncio.StreamWriter) -> None:
        try:
            producer, to_producer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            to_consumer.transport.abort()
            return
        link = Link(to_producer, to_consumer)
        self._links.add(link)
        try:
            await asyncio.gather(self._pump(consumer, to_producer, link), self._pump(producer, to_consumer, link))
        finally:
            self._links.discard(link)
            link.cut()

    async def _pump(self, stream: asyncio.StreamReader, out: asyncio.StreamWriter, link: Link) -> None:
        """Forward one direction."""
        frames = Frames(stream)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            for _ in range(GREETING):
                out.write(await stream.readexactly(1))  # each side waits for the other's first bytes
            while True:
                frame, kind = await frames.next()
                if self.faults and kind == self.faults[0].kind:
                    self.done.append(self.faults.pop(0))
                    await self._fail(self.done[-1].how, frame, out, link)
                if not link.is_dark:
                    out.write(frame)
                    await out.drain()
        if not link.is_dark:
            link.cut()

    async def _fail(self, how: How, frame: bytes, out: asyncio.StreamWriter, link: Link) -> None:
        match how:
            case "cut":
                link.cut()
            case "cut within":
                out.write(frame[:-1])
                await out.drain()
                link.cut()
            case "producer's side":
                link.is_dark = True
                link.to_producer.transport.abort()
            case "consumer's side":
                link.is_dark = True
                link.to_consumer.transport.abort()
            case "swallow":
                link.is_dark = True
            case "delay":
                await asyncio.sleep(DELAY_SECONDS)


class ProxyThread:
    """A proxy beside a test that has no event loop."""

    def __init__(self, target: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._proxy = FaultyProxy(target)
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        self._running = self._proxy.running()
        self._do(self._running.__aenter__())
        self.port = self._proxy.port
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._running.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> int:
        """Close all connections; return how many there were."""

        async def cut() -> int:
            return self._proxy.cut()

        return self._do(cut())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)
