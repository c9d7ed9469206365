"""Small requests to TorchServe over connections of the event loop: one connection, every answer understood."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sluice.errors import BatchRefused, EndpointDown, InferenceError, Overloaded, TimedOut
from sluice.images import BATCH_TYPE, pack
from sluice.inference import Answer, TorchServeClient
from sluice.inference.client import Endpoint
from sluice.inference.lines import EndpointLines
from sluice.settings import read_settings
from tests.support.consumer_fakes import model

SAID = json.dumps({"model": "fake@1", "digest": "d" * 64, "predictions": [[[3, 0.75]]]}).encode()
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(SAID), SAID)
Ask = Callable[[], Awaitable[object]]


def whole(status: str = "200 OK", body: bytes = SAID) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def asking(scripts: list[list[bytes]], use: Callable[[Ask], Awaitable[None]], size: int = 8) -> list[list[bytes]]:
    """Call `use` with what asks a server, whose n-th connection answers as the n-th script; return the heads it got."""
    heads: list[list[bytes]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = scripts[len(heads)]
        mine: list[bytes] = []
        heads.append(mine)
        for answer in script:
            mine.append(await reader.readuntil(b"\r\n\r\n"))
            length = mine[-1].lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            writer.write(answer)
        if script[-1:] != [b""]:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    endpoint = Endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/below", "its-name:80")
    client = TorchServeClient(read_settings(torchserve_timeout=0.5, torchserve_token="secret"))
    lines = EndpointLines(client)
    body = pack([np.zeros((size, size, 3), np.uint8)])
    with ThreadPoolExecutor(1) as threads:
        try:
            await use(lambda: lines.predict(endpoint, model(), body, 1, threads))
        finally:
            lines.close()
            server.close()
    return heads


def run(scripts: list[list[bytes]], use: Callable[[Ask], Awaitable[None]], size: int = 8) -> list[list[bytes]]:
    return asyncio.run(asking(scripts, use, size))


def test_a_connection_is_used_again_and_says_all_that_the_client_says() -> None:
    async def use(ask: Ask) -> None:
        for _ in range(3):
            assert await ask() == [Answer(((3, 0.75),))]

    (heads,) = run([[whole()] * 3], use)
    assert len(heads) == 3
    first, *headers = heads[0].decode().strip().split("\r\n")
    assert first == "POST /below/predictions/fake/1 HTTP/1.1"
    assert {"Host: its-name:80", "Authorization: Bearer secret", f"Content-Type: {BATCH_TYPE}"} <= set(headers)


def test_a_connection_that_was_closed_meanwhile_is_replaced() -> None:
    async def use(ask: Ask) -> None:
        for _ in range(2):
            assert await ask() == [Answer(((3, 0.75),))]

    assert len(run([[whole()], [whole()]], use)) == 2


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ([whole("503 Full", b'{"message": "no room"}')], Overloaded, "answers 503: no room"),
        ([whole("500 Oh", b'{"error": "broken"}')], BatchRefused, "answers 500: broken"),
        ([whole("302 There", b"")], EndpointDown, "answers 302"),
        ([whole(body=b"no json")], EndpointDown, "can't be read"),
        ([], EndpointDown, "closes the connection"),
        ([b""], TimedOut, r"no answer in 0\.5 s"),
    ],
)
def test_every_other_answer_is_an_error_of_its_kind(
    script: list[bytes], error: type[InferenceError], words: str
) -> None:
    async def use(ask: Ask) -> None:
        with pytest.raises(error, match=words):
            await ask()

    assert len(run([script], use)) == 1


def test_nobody_there_is_said_as_the_system_says_it() -> None:
    async def ask() -> None:
        with ThreadPoolExecutor(1) as threads:
            lines = EndpointLines(TorchServeClient(read_settings()))
            await lines.predict(Endpoint("http://127.0.0.1:1", "x"), model(), b"", 1, threads)

    with pytest.raises(EndpointDown, match="gives no answer: Connection refused"):
        asyncio.run(ask())


def test_what_is_not_plain_is_left_to_a_thread_from_then_on() -> None:
    async def use(ask: Ask) -> None:
        for _ in range(3):
            assert await ask() == [Answer(((3, 0.75),))]

    first, second = run([[CHUNKED], [CHUNKED] * 3], use)
    assert len(first) == 1
    assert len(second) == 3
    assert all(b"python-requests" in head for head in second)


def test_what_is_large_is_left_to_a_thread() -> None:
    async def use(ask: Ask) -> None:
        assert await ask() == [Answer(((3, 0.75),))]

    ((head,),) = run([[whole()]], use, size=600)
    assert b"python-requests" in head
