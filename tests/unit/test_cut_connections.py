"""A real router and real sessions with a proxy between them that cuts, delays and half-closes at each message kind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

import pytest
import zmq
import zmq.asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.held import HeldObject
from consumer.link import ProducerLink
from consumer.queues import ByteBudget
from consumer.session import ProducerSession, SessionId
from producer.inbox import Inbox
from producer.leased import ConsumerDeath, Lease, StreamedObject
from producer.leases import LeaseTable
from producer.router import Router
from sluice.protocol import Failure
from sluice.protocol.frames import KINDS
from sluice.settings import read_settings
from tests.support.faulty_proxy import HOWS, FaultyProxy, ProxyFault
from tests.support.loopback import has_ipv6

HEARTBEAT = 0.1
"""Heartbeat of the consumers. The producer never times out, so no death is counted, and lost objects must come back."""
NEVER = 1e6
OBJECTS = 40
CONSUMERS = 2
PATIENCE_SECONDS = 60.0
ENDS = ("done", "failed", "returned, then done")


class Producer:
    """Sends ready objects, and records what happens to them."""

    def __init__(self, address: str = "tcp://127.0.0.1:*") -> None:
        self.leases = LeaseTable(NEVER)
        self.router = Router(read_settings(bind=address), self.leases)
        self.ends: dict[int, list[str]] = {number: [] for number in range(OBJECTS)}
        self.deaths: list[ConsumerDeath] = []

    def offer(self, number: int) -> None:
        self.leases.offer(StreamedObject(number + 1, 1, 1, "s3://b", b"k", "e", 3), b"abc", time.monotonic())

    def wake(self) -> None:
        for grant in self.leases.assign(time.monotonic()):
            if not self.router.send(grant):
                self.returned(self.leases.take(grant.identity, [ready.object.id for ready in grant.items]))
                self.leases.cut(grant.identity)

    def finished(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            self.ends[lease.object.id - 1].append("done")

    def failed(self, pairs: Sequence[tuple[StreamedObject, Failure]]) -> None:
        for found, failure in pairs:
            self.ends[found.id - 1].append(failure.reason)

    def returned(self, objects: Sequence[StreamedObject], _why: str = "") -> None:
        for found in objects:
            self.offer(found.id - 1)
        if objects:
            asyncio.get_running_loop().call_soon(self.wake)

    def died(self, loss: ConsumerDeath) -> None:
        self.deaths.append(loss)


class Consumer:
    """Finishes objects as their number says."""

    def __init__(self, context: zmq.asyncio.Context, address: str, name: str) -> None:
        self.budget = ByteBudget(1 << 20)
        self._context = context
        self._settings = read_settings(name=name, heartbeat=HEARTBEAT)
        self._returned: set[int] = set()
        self.line = ProducerLink(partial(self._open, address), lambda _: None)

    def _open(self, address: str, place: SessionId) -> ProducerSession:
        return ProducerSession(address, self._context.socket(zmq.DEALER), self._settings, self, place)

    def window(self) -> int:
        return 4

    def why_not(self) -> str:
        return ""

    def accept(self, objects: list[HeldObject]) -> None:
        for held in objects:
            asyncio.get_running_loop().call_soon(self._finish, held)

    def _finish(self, held: HeldObject) -> None:
        number = held.item.id
        match ENDS[number % len(ENDS)]:
            case "done":
                held.lessor.done([number])
            case "failed":
                held.lessor.failed([Failure(number, "corrupt", "")])
            case _ if number in self._returned:
                held.lessor.done([number])
            case _:
                self._returned.add(number)
                held.lessor.give_back([number])


async def until(condition: Callable[[], object], leases: LeaseTable) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {list(leases.sessions)}, ready {leases.ready}"
        await asyncio.sleep(0.005)


async def ride_through(faults: list[ProxyFault]) -> list[ProxyFault]:
    """Lease all objects to consumers behind a proxy with these faults, and let them leave; return the faults."""
    producer, context = Producer(), zmq.asyncio.Context()
    leases = producer.leases
    with producer.router as router:
        receiving = asyncio.create_task(router.receive(Inbox(leases, producer, router.answer).take))
        async with FaultyProxy(int(router.address.rsplit(":", 1)[1])).running() as proxy:
            proxy.faults = list(faults)
            address = f"tcp://127.0.0.1:{proxy.port}"
            consumers = [Consumer(context, address, f"c{number}") for number in range(CONSUMERS)]
            lines = [asyncio.create_task(consumer.line.run()) for consumer in consumers]
            for number in range(OBJECTS):
                producer.offer(number)
            await until(lambda: all(producer.ends.values()) and not leases.in_flight, leases)
            await until(lambda: leases.credit and not leases.bytes, leases)
            for consumer in consumers:
                consumer.line.leave()
            await asyncio.gather(*lines)
            await until(lambda: not list(leases.sessions), leases)
        receiving.cancel()
        await asyncio.wait([receiving])
    context.destroy(0)
    assert not producer.deaths
    assert not producer.leases.ready
    for number, ends in producer.ends.items():
        assert set(ends) == {"corrupt" if ENDS[(number + 1) % len(ENDS)] == "failed" else "done"}
    return proxy.done


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("kind", [kind for kind, message in KINDS.items() if message.__name__ != "Error"])
def test_each_message_may_be_lost(kind: int, how: str) -> None:
    fault = ProxyFault(kind, how)  # type: ignore[arg-type]
    assert asyncio.run(ride_through([fault])) == [fault]


@settings(max_examples=12, deadline=None)
@given(st.lists(st.builds(ProxyFault, st.sampled_from(sorted(KINDS)), st.sampled_from(HOWS)), max_size=6))
def test_any_faults_one_after_the_other(faults: list[ProxyFault]) -> None:
    asyncio.run(ride_through(faults))


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no address of IPv6")
def test_a_producer_that_listens_on_ipv6_is_reached() -> None:
    async def work() -> None:
        producer, context = Producer("tcp://[::1]:*"), zmq.asyncio.Context()
        with producer.router as router:
            receiving = asyncio.create_task(router.receive(Inbox(producer.leases, producer, router.answer).take))
            consumer = Consumer(context, router.address, "c")
            line = asyncio.create_task(consumer.line.run())
            producer.offer(0)
            await until(lambda: producer.ends[0], producer.leases)
            consumer.line.leave()
            await line
        receiving.cancel()
        await asyncio.wait([receiving])
        context.destroy(0)

    asyncio.run(work())
