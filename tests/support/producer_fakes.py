"""Peers of a producer: one that speaks the protocol, and messages of a broken or hostile one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress

import zmq
import zmq.asyncio

from sluice.protocol import (
    Bye,
    Credit,
    Done,
    Error,
    Failed,
    Failure,
    Hello,
    Message,
    Ping,
    Pong,
    Return,
    Work,
    WorkItem,
    decode,
    encode,
)
from sluice.protocol.curve import guard_client
from sluice.settings import Settings


def mutated(chance: random.Random, frames: list[bytes]) -> list[bytes]:
    """Damage a message as a bad peer might: flipped bytes, cut frames, frames omitted, doubled or invented."""
    frames = list(frames)
    how = chance.randrange(6)
    place = chance.randrange(len(frames))
    if how == 0:
        return [chance.randbytes(chance.randrange(80)) for _ in range(chance.randrange(5))]
    if how == 1:
        frames[place] = frames[place][: chance.randrange(len(frames[place]) + 1)]
    elif how == 2:
        damaged = bytearray(frames[place] or b"\0")
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        frames[place] = bytes(damaged)
    elif how == 3:
        del frames[place]
    elif how == 4:
        frames.insert(place, chance.randbytes(chance.randrange(20)))
    return frames


def samples() -> list[list[bytes]]:
    item = WorkItem(1, 1, 1, "s3://b", b"k", "e", 3, inline=True, alone=False)
    return [
        encode(Hello("a")),
        encode(Credit(2**40, 0)),
        encode(Work([item]), [b"abc"]),
        encode(Done([1, 2, 3])),
        encode(Failed([Failure(1, "corrupt", "x")])),
        encode(Return([1, 2])),
        encode(Ping()),
        encode(Pong()),
        encode(Bye()),
        encode(Error("malformed", "x")),
    ]


CONTEXT = zmq.asyncio.Context()
"""Shared by all fakes and never closed: a context with a failed test's open sockets would block when collected."""


LINGER = 10_000
"""Milliseconds for a last message to go out."""


class FakeConsumer:
    """A DEALER that speaks the protocol; commits what it is told to, like a consumer."""

    def __init__(self, address: str, settings: Settings | None = None, name: str = "c") -> None:
        self.name = name
        self.socket = CONTEXT.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.ROUTING_ID, b"\x01" + random.randbytes(15))
        if settings:
            guard_client(self.socket, settings)
        self.socket.connect(address)
        self.received = 0
        self.limit = 0

    async def say(self, message: Message) -> None:
        await self.socket.send_multipart(encode(message))

    async def knock(self) -> None:
        """Send HELLO and PING, unless the connection is refused in between: then nothing reads messages any more."""
        with suppress(zmq.Again):
            for message in (Hello(self.name), Ping()):
                await self.socket.send_multipart(encode(message), zmq.DONTWAIT)

    async def hear(self, seconds: float = 60.0) -> tuple[Message, Sequence[bytes]]:
        async with asyncio.timeout(seconds):
            return decode(await self.socket.recv_multipart())

    async def greet(self, credit: int) -> None:
        self.limit = credit
        await self.say(Hello(self.name))
        await self.say(Credit(credit, 0))

    async def work(self, seconds: float = 60.0) -> dict[int, tuple[WorkItem, bytes | None]]:
        """Wait for the next WORK: id -> item and bytes."""
        while True:
            message, payloads = await self.hear(seconds)
            if isinstance(message, Work):
                self.received += len(message.items)
                given = iter(payloads)
                return {item.id: (item, next(given) if item.inline else None) for item in message.items}

    async def more(self, count: int) -> None:
        """Extend the credit and report what was received."""
        self.limit += count
        await self.say(Credit(self.limit, self.received))

    async def leave(self) -> None:
        """Say BYE and close: unlike one that dies, it is not waited for."""
        await self.say(Bye())
        self.socket.close(LINGER)

    def close(self) -> None:
        self.socket.close(0)
