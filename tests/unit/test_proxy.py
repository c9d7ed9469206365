"""The proxy that the unknown storm cuts connections with."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from tools.stack.proxy import Proxy, ProxyLoop

SECONDS = 60.0
"""Timeout of every wait."""


class ProxiedPair:
    """A client's end and the server's end of one connection through the proxy."""

    def __init__(self, proxy: Proxy, listening: socket.socket) -> None:
        self.client = socket.create_connection(("127.0.0.1", proxy.port), SECONDS)
        self.server, _ = listening.accept()
        self.server.settimeout(SECONDS)

    def close(self) -> None:
        self.client.close()
        self.server.close()

    def says(self, data: bytes) -> bytes:
        self.client.sendall(data)
        return self.server.recv(100)

    def answers(self, data: bytes) -> bytes:
        self.server.sendall(data)
        return self.client.recv(100)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(SECONDS)
        yield listening


@pytest.fixture
def proxy(listening: socket.socket) -> Iterator[Proxy]:
    with ProxyLoop() as loop:
        yield loop.add(listening.getsockname()[1])


@pytest.fixture
def line(proxy: Proxy, listening: socket.socket) -> Iterator[ProxiedPair]:
    with closing(ProxiedPair(proxy, listening)) as line:
        yield line


def test_it_carries_both_ways_and_both_ends(line: ProxiedPair) -> None:
    assert line.says(b"question") == b"question"
    assert line.answers(b"answer") == b"answer"
    line.client.shutdown(socket.SHUT_WR)
    assert line.server.recv(100) == b""
    assert line.answers(b"late answer") == b"late answer"
    line.server.close()
    assert line.client.recv(100) == b""


def test_a_cut_resets_both_sides_and_lets_new_ones_through(
    line: ProxiedPair, proxy: Proxy, listening: socket.socket
) -> None:
    assert line.says(b"question") == b"question"
    proxy.cut()
    for end in (line.client, line.server):
        with pytest.raises(ConnectionResetError):
            end.recv(100)
    with closing(ProxiedPair(proxy, listening)) as another:
        assert another.says(b"again") == b"again"


def test_a_half_closed_connection_still_takes_what_the_client_says(line: ProxiedPair, proxy: Proxy) -> None:
    assert line.says(b"question") == b"question"
    proxy.half_close()
    assert line.client.recv(100) == b""
    assert line.says(b"more") == b"more"


def test_what_vanishes_is_not_told_to_the_server(line: ProxiedPair, proxy: Proxy) -> None:
    assert line.says(b"question") == b"question"
    proxy.vanish()
    with pytest.raises(ConnectionResetError):
        line.client.recv(100)
    line.server.settimeout(0.0)
    with pytest.raises(BlockingIOError):
        line.server.recv(100)
    line.server.settimeout(SECONDS)
    proxy.heal()
    with pytest.raises(ConnectionResetError):
        line.server.recv(100)


def test_what_was_sent_into_a_hanging_line_arrives_when_it_heals(line: ProxiedPair, proxy: Proxy) -> None:
    assert line.says(b"question") == b"question"
    proxy.hang()
    line.client.sendall(b"into nothing")
    proxy.heal()
    assert line.server.recv(100) == b"into nothing"


def test_a_slow_line_loses_nothing(line: ProxiedPair, proxy: Proxy) -> None:
    proxy.slow(0.01, loss=0.5)
    assert line.says(b"question") == b"question"
    assert line.answers(b"answer") == b"answer"
