"""Connections for objects: what is no plain answer is None, a closed connection is replaced, silence is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sluice.lines import HttpAnswer, HttpLines, read_head

REQUEST = b"GET /b/k HTTP/1.1\r\nhost: here\r\n\r\n"
WHOLE = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 5\r\n\r\nbytes'

Script = list[bytes | None]
"""What a server says to each request of a connection; None: it closes the connection instead."""


async def with_server(
    scripts: list[Script], use: Callable[[HttpLines], Awaitable[object]], patience: float = 5.0
) -> int:
    """Call `use` with lines to a server whose n-th connection follows the n-th script; return how many it had."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        script = scripts[connections]
        connections += 1
        for answer in script:
            await reader.readuntil(b"\r\n\r\n")
            if answer is None:
                break
            for first in range(0, len(answer), 7):  # in pieces: heads and bodies come as the network likes
                writer.write(answer[first : first + 7])
                await writer.drain()
        else:
            await reader.read()  # silence, until the other end closes
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    lines = HttpLines("127.0.0.1", server.sockets[0].getsockname()[1], None, patience)
    try:
        await use(lines)
    finally:
        lines.close()
        server.close()
    return connections


def test_a_connection_is_used_again() -> None:
    async def use(lines: HttpLines) -> None:
        for _ in range(3):
            answer = await lines.ask(REQUEST, 100)
            assert answer == HttpAnswer({"etag": '"e"', "content-length": "5"}, b"bytes")

    assert asyncio.run(with_server([[WHOLE] * 3], use)) == 1


def test_a_connection_that_the_server_closed_is_replaced() -> None:
    async def use(lines: HttpLines) -> None:
        for _ in range(2):
            answer = await lines.ask(REQUEST, 100)
            assert answer is not None

    assert asyncio.run(with_server([[WHOLE, None], [WHOLE]], use)) == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nbytes",
        b"HTTP/1.1 200 OK\r\n\r\nbytes",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nbytes",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nbytes",
        b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nbytes",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nmore than that",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\nbytes",
        b"what?\r\n\r\n",
        b"x" * 40_000,
    ],
)
def test_what_is_no_plain_answer_is_left_to_others(answer: bytes) -> None:
    async def use(lines: HttpLines) -> None:
        assert await lines.ask(REQUEST, 100) is None
        assert await lines.ask(REQUEST, 100) is not None  # over a new connection

    assert asyncio.run(with_server([[answer], [WHOLE]], use)) == 2


def test_a_body_that_ends_early_is_none() -> None:
    async def use(lines: HttpLines) -> None:
        assert await lines.ask(REQUEST, 100) is None

    assert asyncio.run(with_server([[WHOLE[:-1], None]], use)) == 1


def test_a_server_that_is_silent_is_given_up() -> None:
    async def use(lines: HttpLines) -> None:
        assert await lines.ask(REQUEST, 100) is not None
        assert await lines.ask(REQUEST, 100) is None

    assert asyncio.run(with_server([[WHOLE]], use, patience=0.1)) == 1


def test_nobody_there_is_none() -> None:
    assert asyncio.run(HttpLines("127.0.0.1", 9, None, 1.0).ask(REQUEST, 100)) is None


def test_lines_go_on_in_another_event_loop() -> None:
    lines = HttpLines("127.0.0.1", 9, None, 1.0)
    for _ in range(2):
        assert asyncio.run(lines.ask(REQUEST, 100)) is None
    lines.close()


def test_headers_are_read_by_their_names_in_lower_case() -> None:
    assert read_head(b"HTTP/1.1 206 Partial Content\r\nContent-Range:  bytes 0-1/2 \r\nVary: a\r\nVary: b") == {
        "content-range": "bytes 0-1/2",
        "vary": "a",
    }
