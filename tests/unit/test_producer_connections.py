"""How much memory strangers and broken consumers can make a producer use, over real connections."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq
import zmq.asyncio

from producer import connections
from producer.connections import BOUNDS, StrangerBounds
from producer.inbox import Inbox
from producer.leases import LeaseTable
from producer.router import MESSAGES_A_TURN, RECEIVE_QUEUE, Router
from sluice.protocol import Bye, Hello, Ping, Pong, encode
from sluice.settings import read_settings
from tests.support import raw_peers
from tests.support.producer_fakes import FakeConsumer

MIB = 1 << 20
MOST_SENT = 1024
MOST_GROWTH = 512
"""In MiB, and far more than is kept: the amount that arrives between two checks depends on the machine."""


class IgnoredEvents:
    """Ignores all events."""

    def finished(self, leases: object) -> None: ...
    def failed(self, pairs: object) -> None: ...
    def returned(self, objects: object, why: str = "") -> None: ...
    def died(self, loss: object) -> None: ...
    def wake(self) -> None: ...


def run(test: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(120):
            await test

    asyncio.run(limited())


@asynccontextmanager
async def guarded(strangers: StrangerBounds = BOUNDS) -> AsyncIterator[tuple[Router, LeaseTable]]:
    leases = LeaseTable(600.0)
    with Router(read_settings(bind="tcp://127.0.0.1:*", heartbeat=600), leases, strangers) as router:
        tasks = [
            asyncio.create_task(work)
            for work in (router.receive(Inbox(leases, IgnoredEvents(), router.answer).take), router.guard())
        ]
        try:
            yield router, leases
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.01)


async def is_served(consumer: FakeConsumer) -> None:
    await consumer.say(Ping())
    message, _ = await consumer.hear()
    assert isinstance(message, Pong)


@asynccontextmanager
async def good_consumer(router: Router) -> AsyncIterator[FakeConsumer]:
    """Check that a consumer is served before and after."""
    consumer = FakeConsumer(router.address)
    await consumer.greet(1)
    await is_served(consumer)
    try:
        yield consumer
        await is_served(consumer)
    finally:
        consumer.close()


@pytest.mark.parametrize("greets", [False, True], ids=["a stranger", "a consumer"])
@pytest.mark.parametrize("size", [3, 1000, MIB])
def test_a_message_without_end_ends_its_connection(size: int, *, greets: bool) -> None:
    before = psutil.Process().memory_info().rss
    most = before

    def send(address: str) -> int:
        nonlocal most
        peer = raw_peers.connect(address, b"identity")
        if greets:
            peer.sendall(raw_peers.message(encode(Hello("endless"))))
        parts = raw_peers.frame(bytes(size), raw_peers.MORE) * max(1, MIB // size)
        with peer:
            for number in range(MOST_SENT):
                most = max(most, psutil.Process().memory_info().rss)
                try:
                    peer.sendall(parts)
                except ConnectionError:
                    return number
        return MOST_SENT

    async def test() -> None:
        async with guarded() as (router, _), good_consumer(router):
            assert await asyncio.to_thread(send, router.address) < MOST_SENT

    run(test())
    assert (most - before) / MIB < MOST_GROWTH


def test_an_identity_without_measure_ends_its_connection() -> None:
    def introduce(address: str) -> None:
        with suppress(ConnectionError, ValueError), raw_peers.connect(address, bytes(200_000)) as peer:
            raw_peers.until_closed(peer)

    async def test() -> None:
        async with guarded() as (router, _), good_consumer(router):
            await asyncio.to_thread(introduce, router.address)

    run(test())


def test_who_says_no_hello_is_shown_out() -> None:
    """It may send nothing, half a greeting, or nothing after the handshake."""

    async def test() -> None:
        async with guarded(StrangerBounds(seconds=0.5)) as (router, _), good_consumer(router):
            silent, slow = raw_peers.knock(router.address), raw_peers.knock(router.address)
            slow.sendall(raw_peers.GREETING[:20])
            for peer in (silent, slow, await asyncio.to_thread(raw_peers.connect, router.address)):
                with peer:
                    await asyncio.to_thread(raw_peers.until_closed, peer)

    run(test())


def test_a_crowd_of_strangers_keeps_no_consumer_out() -> None:
    async def test() -> None:
        async with guarded(StrangerBounds(most=5, seconds=600.0)) as (router, leases):
            crowd = [raw_peers.knock(router.address) for _ in range(20)]
            for peer in crowd[:15]:
                await asyncio.to_thread(raw_peers.until_closed, peer)
            async with good_consumer(router):
                assert len(leases.sessions) == 1
            for peer in crowd:
                peer.close()

    run(test())


def test_who_says_nothing_but_nonsense_is_shown_out() -> None:
    async def test() -> None:
        async with guarded() as (router, _), good_consumer(router):
            with await asyncio.to_thread(raw_peers.connect, router.address) as peer:
                for _ in range(connections.MOST_COMPLAINTS):
                    peer.sendall(raw_peers.message([b"non", b"sense"]))
                await asyncio.to_thread(raw_peers.until_closed, peer)

    run(test())


def test_a_consumer_that_connects_again_is_told_that_its_session_is_over() -> None:
    """As with consumers that don't count messages: messages in transit may be lost."""

    async def test() -> None:
        async with guarded() as (router, leases):
            first = await asyncio.to_thread(raw_peers.connect, router.address, b"the same")
            first.sendall(raw_peers.message(encode(Hello("c"))))
            await until(lambda: leases.sessions)
            first.close()
            await until(lambda: all(session.is_cut for session in leases.sessions))
            with await asyncio.to_thread(raw_peers.connect, router.address, b"the same") as second:
                second.sendall(raw_peers.message(encode(Ping())))
                said = b""
                while b"unknown_session" not in said:
                    said += await asyncio.to_thread(second.recv, 1 << 16)
            assert not leases.sessions

    run(test())


def test_a_connection_with_the_descriptor_of_one_that_ended_is_another() -> None:
    """Its first message may be read before anybody looked at the end of the other, which ends nobody else's session."""
    gone: list[bytes] = []

    def take_place(address: str, first: socket.socket, descriptor: int) -> socket.socket:
        first.close()
        deadline = time.monotonic() + 60
        while Path(f"/proc/self/fd/{descriptor}").exists():
            assert time.monotonic() < deadline
        second = raw_peers.connect(address, b"second")
        second.sendall(raw_peers.message(encode(Hello("second"))))
        return second

    async def test() -> None:
        with zmq.asyncio.Context() as context, zmq.Socket(context, zmq.ROUTER) as bound:
            port = bound.bind_to_random_port("tcp://127.0.0.1")
            address = f"tcp://127.0.0.1:{port}"
            watched = connections.PeerConnections(bound, context, has_session=lambda _: True)
            watching = asyncio.create_task(watched.watch(gone.append))
            first = await asyncio.to_thread(raw_peers.connect, address, b"first")
            first.sendall(raw_peers.message(encode(Hello("first"))))
            earlier = watched.took(await asyncio.to_thread(bound.recv_multipart, copy=False))
            assert earlier
            with take_place(address, first, earlier.descriptor):  # without a turn for those who watch
                later = watched.took(bound.recv_multipart(copy=False))
                assert later
                assert later is not earlier
                assert (earlier.descriptor, earlier.identity) == (later.descriptor, b"first")
                assert later.identity == b"second"
                await until(lambda: gone)
                assert gone == [b"first"]
            watching.cancel()
            await asyncio.wait([watching])
            watched.close()

    run(test())


def test_a_peer_that_fills_the_queue_and_is_gone_does_not_end_the_process() -> None:
    async def test() -> None:
        leases = LeaseTable(600.0)
        with Router(read_settings(bind="tcp://127.0.0.1:*", heartbeat=0.1), leases) as router:
            for _ in range(5):
                peer = await asyncio.to_thread(raw_peers.connect, router.address)
                peer.sendall(raw_peers.message(encode(Ping())) * 2 * RECEIVE_QUEUE)
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.close()
            await asyncio.sleep(0.2)  # so that ZeroMQ's timers, if there were any, would run with messages left
            receiving = asyncio.create_task(router.receive(Inbox(leases, IgnoredEvents(), router.answer).take))
            async with good_consumer(router):
                pass
            receiving.cancel()

    run(test())


def test_a_stranger_of_long_ago_ends_nothing() -> None:
    """ZMTP 1 has no handshake, and its messages don't name their sender."""

    async def test() -> None:
        async with guarded() as (router, leases), good_consumer(router):
            with raw_peers.knock(router.address) as peer:
                old = b"\x01\x00" + b"".join(
                    bytes([len(b) + 1, m]) + b for m, b in ((1, encode(Ping())[0]), (0, b"\x80"))
                )
                peer.sendall(old)
                said = b""
                while b"unknown_session" not in said:
                    said += await asyncio.to_thread(peer.recv, 1 << 16)
            assert len(leases.sessions) == 1

    run(test())


def test_others_get_their_turn_while_messages_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = 0
    seen = []

    def take(*_: object) -> bool:
        nonlocal taken
        taken += 1
        assert taken < 100 * MESSAGES_A_TURN, "nobody else had a turn"
        return True

    async def another() -> None:
        for _ in range(5):
            seen.append(taken)
            await asyncio.sleep(0)

    async def test() -> None:
        with Router(read_settings(bind="tcp://127.0.0.1:*"), LeaseTable(600.0)) as router:
            consumer = FakeConsumer(router.address)
            await consumer.say(Bye())
            router._socket.poll(60_000)
            waiting = router._next()
            monkeypatch.setattr(router, "_next", lambda: waiting)
            receiving = asyncio.create_task(router.receive(take))
            await another()
            receiving.cancel()
            consumer.close()

    run(test())
    assert len(seen) == 5
