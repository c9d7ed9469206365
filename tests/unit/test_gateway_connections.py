"""Clients that hold a connection and give nothing for it, before a real server of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from gateway.doors.connections import BoundedProtocol

SECONDS = 20.0
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Scene = Callable[[int, asyncio.Event], Awaitable[None]]


class ImpatientProtocol(BoundedProtocol):
    head_seconds = 0.3
    taking_seconds = 0.3
    most = 3


class PatientProtocol(BoundedProtocol):
    most = 3


class QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def] # noqa: ANN201 - as uvicorn has it
        yield


def play(scene: Scene, protocol: type[BoundedProtocol] = ImpatientProtocol) -> None:
    """Run a scene with a server that answers at once; `sent` says that it gave away all that /much has."""
    sent = asyncio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        is_much = scope["path"] == "/much"
        headers = [] if is_much else [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if not is_much:
            await send({"type": "http.response.body", "body": b"ok"})
            return
        for _ in range(1000):
            await send({"type": "http.response.body", "body": bytes(2**20), "more_body": True})
            await asyncio.sleep(0)
        sent.set()

    @contextlib.asynccontextmanager
    async def serving() -> AsyncIterator[int]:
        config = uvicorn.Config(application, port=0, http=protocol, lifespan="off", log_config=None)
        server = QuietServer(config)
        running = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn sets it, and has no event
            await asyncio.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
        server.should_exit = True
        await running

    async def run() -> None:
        async with asyncio.timeout(SECONDS), serving() as port:
            await scene(port, sent)

    asyncio.run(run())


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the server ends the connection."""
    found = bytearray()
    with contextlib.suppress(ConnectionError):
        while some := await reader.read(2**16):
            found += some
    return bytes(found)


async def trickle(writer: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "begin", [b"G", b"GET / HTTP/1.1\r\n", REQUEST], ids=["a letter", "a line", "a second request"]
)
def test_a_head_that_never_ends_is_not_waited_for(begin: bytes) -> None:
    async def scene(port: int, _: asyncio.Event) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begin)
        if begin == REQUEST:
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
            writer.write(b"GET / HTTP/1.1\r\n")
        more = asyncio.create_task(trickle(writer, b"E" if begin == b"G" else b"a: b\r\n"))
        # Who goes on sending to a connection that has ended may miss the answer.
        assert (await rest_of(reader))[:12] in {b"", b"HTTP/1.1 408"}
        more.cancel()

    play(scene)


def test_a_client_that_says_nothing_is_not_waited_for() -> None:
    async def scene(port: int, _: asyncio.Event) -> None:
        reader, _writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await rest_of(reader)).startswith(b"HTTP/1.1 408")

    play(scene)


def test_a_body_that_nobody_reads_any_more_is_not_waited_for() -> None:
    async def scene(port: int, _: asyncio.Event) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        more = asyncio.create_task(trickle(writer, b"x"))
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        assert await rest_of(reader) == b""
        more.cancel()

    play(scene)


def test_a_client_that_takes_nothing_of_its_answer_is_not_waited_for() -> None:
    async def scene(port: int, sent: asyncio.Event) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        await sent.wait()
        assert len(await rest_of(reader)) < 1000 * 2**20

    play(scene)


def test_a_request_that_comes_in_pieces_is_answered_and_the_next_one_too() -> None:
    async def scene(port: int, _: asyncio.Event) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _number in range(3):
            for piece in (REQUEST[:5], REQUEST[5:20], REQUEST[20:]):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")

    play(scene, PatientProtocol)


def test_beyond_the_bound_nobody_is_let_in_until_somebody_goes() -> None:
    async def scene(port: int, _: asyncio.Event) -> None:
        inside = [await asyncio.open_connection("127.0.0.1", port) for _ in range(PatientProtocol.most)]
        for reader, writer in inside:
            writer.write(REQUEST)
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        refused = await rest_of(reader)
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"Retry-After" in refused
        inside[0][1].close()
        answered = b""
        while not answered.startswith(b"HTTP/1.1 200"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(ConnectionError):
                writer.write(REQUEST)
                answered = await reader.read(2**16)
            writer.close()

    play(scene, PatientProtocol)
