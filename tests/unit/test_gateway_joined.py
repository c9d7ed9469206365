"""What is written in one turn of the event loop is sent in one piece, in order, before the connection closes."""

from __future__ import annotations

import asyncio

from gateway.doors.joined import MOST, JoinedWrites


class RecordedTransport(asyncio.Transport):
    """Notes what is sent, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__({"peername": "somebody"})
        self.did: list[bytes | str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.did.append(bytes(data))

    def close(self) -> None:
        self.did.append("close")

    def abort(self) -> None:
        self.did.append("abort")

    def is_closing(self) -> bool:
        return "abort" in self.did


def test_writes_of_one_turn_are_one() -> None:
    async def write() -> list[bytes | str]:
        below = RecordedTransport()
        transport = JoinedWrites(below, asyncio.get_running_loop())
        transport.write(b"head ")
        transport.writelines([b"", b"body"])
        assert below.did == []
        await asyncio.sleep(0)
        transport.write(b"next")
        await asyncio.sleep(0)
        return below.did

    assert asyncio.run(write()) == [b"head body", b"next"]


def test_much_does_not_wait_for_the_end_of_the_turn() -> None:
    async def write() -> list[bytes | str]:
        below = RecordedTransport()
        transport = JoinedWrites(below, asyncio.get_running_loop())
        for _ in range(3):
            transport.write(bytes(MOST))
        return list(below.did)

    assert asyncio.run(write()) == [bytes(2 * MOST)]


def test_what_is_whole_needs_not_wait() -> None:
    async def write() -> list[bytes | str]:
        below = RecordedTransport()
        transport = JoinedWrites(below, asyncio.get_running_loop())
        transport.write(b"head ")
        transport.write(b"body")
        transport.flush()
        did = list(below.did)
        await asyncio.sleep(0)
        assert below.did == did
        return did

    assert asyncio.run(write()) == [b"head body"]


def test_what_waits_is_sent_before_the_end_but_not_before_a_sudden_one() -> None:
    async def write() -> list[bytes | str]:
        did = []
        for end in ("close", "abort"):
            below = RecordedTransport()
            transport = JoinedWrites(below, asyncio.get_running_loop())
            transport.write(b"last words")
            getattr(transport, end)()
            await asyncio.sleep(0)
            did += below.did
        return did

    assert asyncio.run(write()) == [b"last words", "close", "abort"]


def test_what_is_below_tells_who_is_there() -> None:
    async def ask() -> object:
        await asyncio.sleep(0)
        return JoinedWrites(RecordedTransport(), asyncio.get_running_loop()).get_extra_info("peername")

    assert asyncio.run(ask()) == "somebody"
