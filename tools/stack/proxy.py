"""TCP proxies that can cut, half-close, hang, delay and lose data, like networks and dying machines.

All proxies of a `ProxyLoop` run on one event loop in a separate thread; a proxy's methods may be called from any thread
and return immediately.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable
from typing import Final, Self

from tools.stack.ports import free_port, give_back

CHUNK: Final = 256 * 1024
CONNECT_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.01
# The effect of a lost packet in TCP: everything after it waits until it is sent again.
AGAIN_SECONDS: Final = (0.2, 1.0)


class ProxyLoop:
    """The thread that runs its proxies."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="proxies", daemon=True)
        self._proxies: list[Proxy] = []

    def __enter__(self) -> Self:
        """Start the thread; leaving closes all proxies."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for proxy in self._proxies:
            asyncio.run_coroutine_threadsafe(proxy.close(), self.loop).result()
            give_back(proxy.port)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def add(self, target: int) -> Proxy:
        """Listen on a free port of 127.0.0.1 and forward connections to the port `target`."""
        proxy = Proxy(self.loop, target)
        asyncio.run_coroutine_threadsafe(proxy.open(), self.loop).result()
        self._proxies.append(proxy)
        return proxy


class ProxiedConnection:
    """One client's connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.deaf = False
        """From now on the client's data is dropped, and the server isn't told of its end."""
        self.halved = False
        """The client was told that the server has finished; the server's data is dropped."""
        self.carrying: list[asyncio.Task[None]] = []

    def abort(self) -> None:
        """Reset both sides."""
        for task in self.carrying:
            task.cancel()
        for side in (self.client, self.server):
            reset(side)


def reset(side: asyncio.StreamWriter) -> None:
    """Reset a connection with RST, dropping data that waits to be sent."""
    if not side.is_closing():
        side.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        side.transport.abort()


class Proxy:
    """A port that forwards to another."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._loop = loop
        self._listening: asyncio.Server | None = None
        self._connections: set[ProxiedConnection] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._delay = 0.0
        self._loss = 0.0
        self._chance = random.Random()  # noqa: S311 - when a byte waits, is never the same twice anyhow

    def cut(self) -> None:
        """Reset every connection; new ones are forwarded."""
        self._soon(self._cut)

    def half_close(self) -> None:
        """End the servers' half of every connection: clients read the end, and can still write."""
        self._soon(self._half_close)

    def vanish(self) -> None:
        """Reset the clients' sides only: servers keep connections on which nobody will ever send again."""
        self._soon(self._vanish)

    def hang(self) -> None:
        """Forward nothing any more, and refuse nothing: data waits for `heal`."""
        self._soon(self._flowing.clear)

    def slow(self, delay: float, loss: float = 0.0) -> None:
        """Forward each piece `delay` seconds late, and a share of them as if they had been lost and sent again."""
        self._delay, self._loss = delay, loss

    def heal(self) -> None:
        """Forward everything as before, and end connections that `vanish` kept."""
        self._delay = self._loss = 0.0
        self._soon(self._heal)

    async def open(self) -> None:
        """Start listening; must run on the loop."""
        self._listening = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=CHUNK)

    async def close(self) -> None:
        """Close everything; must run on the loop."""
        self._cut()
        if self._listening:
            self._listening.close()
        while self._connections:  # noqa: ASYNC110 - each ends by itself, at once
            await asyncio.sleep(POLL_SECONDS)

    def _soon(self, act: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(act)

    def _cut(self) -> None:
        for connection in list(self._connections):
            connection.abort()

    def _half_close(self) -> None:
        for connection in self._connections:
            if not (connection.halved or connection.client.is_closing()):
                connection.halved = True
                with contextlib.suppress(OSError):
                    connection.client.write_eof()

    def _vanish(self) -> None:
        for connection in self._connections:
            connection.deaf = True
            reset(connection.client)

    def _heal(self) -> None:
        self._flowing.set()
        for connection in list(self._connections):
            if connection.deaf:
                connection.abort()

    async def _accept(self, from_client: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                from_server, server = await asyncio.open_connection("127.0.0.1", self._target, limit=CHUNK)
        except (OSError, TimeoutError):
            reset(client)
            return
        connection = ProxiedConnection(client, server)
        self._connections.add(connection)
        connection.carrying = [
            asyncio.create_task(self._carry(connection, from_client, server, up=True)),
            asyncio.create_task(self._carry(connection, from_server, client, up=False)),
        ]
        await asyncio.wait(connection.carrying)
        self._connections.discard(connection)
        for side in (client, server):
            side.close()

    async def _carry(
        self, connection: ProxiedConnection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool
    ) -> None:
        """Forward one direction until its end, then end the other side's reading, too."""
        try:
            while data := await reader.read(CHUNK):
                await self._wait()
                if connection.deaf:
                    break
                if up or not connection.halved:
                    writer.write(data)
                    await writer.drain()
            await self._wait()
        except OSError:
            if not connection.deaf:
                reset(writer)
        if connection.deaf:
            await asyncio.Event().wait()  # until `heal` or `close` ends it
        if not (writer.is_closing() or (connection.halved and not up)):
            with contextlib.suppress(OSError):
                writer.write_eof()

    async def _wait(self) -> None:
        await self._flowing.wait()
        if self._delay:
            await asyncio.sleep(self._delay)
        if self._loss and self._chance.random() < self._loss:
            await asyncio.sleep(self._chance.uniform(*AGAIN_SECONDS))
