"""A running router with good and bad consumers, over real ZeroMQ."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from producer.inbox import Inbox
from producer.leased import ConsumerDeath, Lease, StreamedObject
from producer.leases import LeaseTable
from producer.router import Router
from sluice.protocol import Bye, Credit, Done, Error, Failed, Failure, Hello, Ping, Pong, Return, Work
from sluice.protocol.keys import make_keys
from sluice.settings import Settings, read_settings
from tests.support.pem_keys import mount_all
from tests.support.producer_fakes import FakeConsumer, mutated, samples


class RecordedEvents:
    """Records the router's events."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, Any]] = []

    def finished(self, leases: Sequence[Lease]) -> None:
        self.notes += [("done", lease.object.id) for lease in leases]

    def failed(self, pairs: Sequence[tuple[StreamedObject, Failure]]) -> None:
        self.notes += [("failed", (found.id, failure.reason)) for found, failure in pairs]

    def returned(self, objects: Sequence[StreamedObject], why: str = "") -> None:
        self.notes += [("returned", (found.id, why) if why else found.id) for found in objects]

    def died(self, loss: ConsumerDeath) -> None:
        self.notes += [("died", found.id) for found in loss.objects]

    def wake(self) -> None:
        self.notes.append(("wake", None))


def run(test: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await test

    asyncio.run(limited())


def on(**settings: Any) -> Settings:  # noqa: ANN401 - pydantic checks them
    return read_settings(bind="tcp://127.0.0.1:*", **settings)


def thing(number: int) -> StreamedObject:
    return StreamedObject(number, 1, 1, "s3://b", b"k", "e", 3)


def test_a_consumer_is_greeted_served_and_heard() -> None:
    async def test() -> None:
        leases, events = LeaseTable(2.0), RecordedEvents()
        with Router(on(), leases) as router:
            receiving = asyncio.create_task(router.receive(Inbox(leases, events, router.answer).take))
            consumer = FakeConsumer(router.address)
            await consumer.say(Hello("c"))
            await consumer.say(Credit(4, 0))
            await consumer.say(Ping())
            assert await consumer.hear() == (Pong(0), [])
            for number in (1, 2, 3, 4, 5):
                leases.offer(thing(number), b"abc", time.monotonic())
            assert all(router.send(grant) for grant in leases.assign(time.monotonic()))
            work, payloads = await consumer.hear()
            assert isinstance(work, Work)
            assert [item.id for item in work.items] == [1, 2, 3, 4]
            assert list(payloads) == [b"abc"] * 4
            await consumer.say(Done([1]))
            await consumer.say(Failed([Failure(2, "corrupt", "x")]))
            await consumer.say(Return([3, 99], "its model raises"))
            await consumer.say(Bye())
            await consumer.say(Ping())
            assert await consumer.hear() == (Bye(), [])
            message, _ = await consumer.hear()
            assert isinstance(message, Error)
            assert message.code == "unknown_session"
            assert [note for note in events.notes if note[0] != "wake"] == [
                ("done", 1),
                ("failed", (2, "corrupt")),
                ("returned", (3, "its model raises")),
                ("returned", 4),
            ]
            receiving.cancel()
            consumer.close()

    run(test())


def test_a_consumer_that_vanished_is_sent_nothing_and_its_death_is_left_to_its_silence() -> None:
    """It may be disconnected for a moment: its objects stay its own until then."""

    async def test() -> None:
        leases, events = LeaseTable(60.0), RecordedEvents()
        with Router(on(), leases) as router:
            receiving = asyncio.create_task(router.receive(Inbox(leases, events, router.answer).take))
            consumer = FakeConsumer(router.address)
            await consumer.greet(4)
            await consumer.say(Ping())
            await consumer.hear()
            leases.offer(thing(1), b"abc", time.monotonic())
            (grant,) = leases.assign(time.monotonic())
            assert router.send(grant)
            consumer.close()
            while router.send(grant):
                await asyncio.wait([receiving], timeout=0.01)
            assert [note for note in events.notes if note[0] != "wake"] == []
            assert leases.in_flight == 1
            receiving.cancel()

    run(test())


def test_a_lost_message_is_noticed_at_the_next_ping() -> None:
    """The consumer is alive and notified; its objects go back, and no death is counted."""

    async def test() -> None:
        leases, events = LeaseTable(60.0), RecordedEvents()
        with Router(on(), leases) as router:
            receiving = asyncio.create_task(router.receive(Inbox(leases, events, router.answer).take))
            consumer = FakeConsumer(router.address)
            await consumer.greet(1)
            await consumer.say(Ping(2))
            assert await consumer.hear() == (Pong(0), [])
            leases.offer(thing(1), b"abc", time.monotonic())
            assert all(router.send(grant) for grant in leases.assign(time.monotonic()))
            await consumer.work()
            await consumer.say(Ping(3))
            assert await consumer.hear() == (Pong(2), []), "a PONG and a WORK were sent before"
            await consumer.say(Ping(5))  # for example DONE was the fifth message, and was lost
            message, _ = await consumer.hear()
            assert isinstance(message, Error)
            assert message.code == "unknown_session"
            assert [note for note in events.notes if note[0] != "wake"] == [("returned", 1)]
            receiving.cancel()
            consumer.close()

    run(test())


def test_ten_thousand_bad_messages_harm_nobody() -> None:
    """Random, cut, changed and repeated messages: each is survived, and a good consumer is served as before."""

    async def test() -> None:
        chance = random.Random(11)
        leases, events = LeaseTable(60.0), RecordedEvents()
        with Router(on(), leases) as router:
            receiving = asyncio.create_task(router.receive(Inbox(leases, events, router.answer).take))
            good, bad = FakeConsumer(router.address, name="good"), FakeConsumer(router.address, name="bad")
            await good.say(Hello("good"))
            await good.say(Credit(3, 0))
            await good.say(Ping())
            assert await good.hear() == (Pong(0), [])
            for number in (1, 2, 3):
                leases.offer(thing(number), b"abc", time.monotonic())
            for grant in leases.assign(time.monotonic()):
                assert router.send(grant)
            last: list[bytes] = [b""]
            for number in range(10_000):
                if number % 4 != 0 or not last:
                    last = mutated(chance, chance.choice(samples()))
                await bad.socket.send_multipart(last or [b""])
                if number % 50 == 0:
                    while await bad.socket.poll(0):
                        await bad.socket.recv_multipart()
                    await asyncio.sleep(0)
            work, _ = await good.hear()
            assert isinstance(work, Work)
            await good.say(Done([item.id for item in work.items]))
            await good.say(Ping())
            assert await good.hear() == (Pong(2), [])
            assert not receiving.done()
            assert [note for note in events.notes if note[0] != "wake"] == [("done", n) for n in (1, 2, 3)]
            receiving.cancel()
            good.close()
            bad.close()

    run(test())


@dataclass
class RouterKeys:
    """The settings of a producer, of a consumer that it knows, and of one that it doesn't."""

    producer: dict[str, object]
    known: dict[str, object]
    stranger: dict[str, object]


def own_keys(folder: Path) -> RouterKeys:
    """Make keys as `sluice keys` does."""
    public = make_keys(folder / "server").public.decode()
    (folder / "clients").mkdir()
    make_keys(folder / "clients" / "known")
    make_keys(folder / "stranger")
    return RouterKeys(
        {"curve_key": folder / "server", "curve_clients": folder / "clients"},
        {"curve_key": folder / "clients" / "known", "curve_server": public},
        {"curve_key": folder / "stranger", "curve_server": public},
    )


def mounted_keys(folder: Path) -> RouterKeys:
    """Make keys as Helm does, mounted as by Kubernetes."""
    mount_all(folder, "known", "stranger")
    # An editor's copy, and the consumer's own .pub in the other format next to the first.
    (folder / "clients" / ".half-written.pub").write_text("-----BEGIN")
    make_keys(folder / "clients" / "another")
    return RouterKeys(
        {"curve_key": folder / "producer" / "producer.key", "curve_clients": folder / "clients"},
        *(
            {"curve_key": folder / name / "consumer.key", "curve_server": str(folder / name / "producer.pub")}
            for name in ("known", "stranger")
        ),
    )


@pytest.mark.parametrize("make", [own_keys, mounted_keys])
def test_an_unknown_key_gets_nothing(tmp_path: Path, make: Callable[[Path], RouterKeys]) -> None:
    """With CURVE on: the known key is served; clients with another key, or none, never reach the router."""

    async def test() -> None:
        keys = make(tmp_path)
        leases = LeaseTable(60.0)
        with Router(on(**keys.producer), leases) as router:
            receiving = asyncio.create_task(router.receive(Inbox(leases, RecordedEvents(), router.answer).take))
            known = FakeConsumer(router.address, read_settings(**keys.known))
            stranger = FakeConsumer(router.address, read_settings(**keys.stranger))
            plain = FakeConsumer(router.address)
            for consumer in (stranger, plain, known):
                await consumer.knock()
            assert await known.hear() == (Pong(0), [])
            assert not await stranger.socket.poll(500)
            assert not await plain.socket.poll(100)
            assert len(list(leases.sessions)) == 1
            receiving.cancel()
            for consumer in (known, stranger, plain):
                consumer.close()

    run(test())
