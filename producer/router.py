"""The ZeroMQ side: one ROUTER socket, frames in and out. `producer.inbox` handles the messages."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence
from typing import Final, Self

import zmq
import zmq.asyncio

from producer.connections import BOUNDS, PeerConnections, StrangerBounds
from producer.leased import MOST_LEASES, StreamedObject, WorkGrant
from producer.leases import LeaseTable
from sluice.errors import ConfigurationError
from sluice.protocol import Bye, Message, Work, WorkItem, encode
from sluice.protocol.curve import CurveAuthenticator
from sluice.protocol.frames import HEADER_MAX_BYTES
from sluice.settings import Settings
from sluice.telemetry import get_logger

log = get_logger()

# Consumers' messages are lists of ids: a queue of some hundred is plenty.
RECEIVE_QUEUE: Final = 256
SEND_QUEUE: Final = MOST_LEASES
MESSAGES_A_TURN: Final = 64
LINGER_MILLISECONDS: Final = 1000
LARGE_BYTES: Final = 256 * 1024
"""Fewer bytes are copied to ZeroMQ: telling Python when it has sent them takes longer than the copy."""


class Router:
    """Binds, receives, sends. A context manager, so that the socket is always closed."""

    def __init__(
        self,
        settings: Settings,
        leases: LeaseTable,
        strangers: StrangerBounds = BOUNDS,
        *,
        trial_of: Callable[[int], int] = lambda _: 0,
    ) -> None:
        self._leases = leases
        self._trial_of = trial_of
        self._context = zmq.asyncio.Context()
        # Not asyncio's kind of socket, which makes a future for each message, though it is there or sent at once.
        self._socket: zmq.Socket[bytes] = zmq.Socket(self._context, zmq.ROUTER)
        self._news = asyncio.Event()
        self._gate = CurveAuthenticator(settings, self._context)
        self._set_up(settings, strangers)
        self._connections = PeerConnections(self._socket, self._context, leases.knows, strangers)
        self.address = ""
        self._bind = settings.bind

    def __enter__(self) -> Self:
        try:
            self._gate.open()
            self._gate.guard(self._socket)
            self._socket.bind(self._bind)
        except zmq.ZMQError as error:
            self.__exit__()
            raise ConfigurationError(
                f"SLUICE_BIND is {self._bind}: {error.strerror}: name a free tcp://host:port"
            ) from error
        except ConfigurationError:
            self.__exit__()
            raise
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        log.info("listening", address=self.address, curve=self._gate.closed_to_strangers)
        return self

    def __exit__(self, *_: object) -> None:
        self._connections.close()
        self._socket.close(LINGER_MILLISECONDS)
        self._gate.close()
        self._context.term()

    async def receive(self, take: Callable[[bytes, list[bytes]], bool]) -> None:
        """Receive messages forever; `take` handles a message, given its sender, and returns whether it was usable."""
        loop, descriptor = asyncio.get_running_loop(), self._socket.fileno()
        loop.add_reader(descriptor, self._news.set)
        try:
            while True:
                for _ in range(MESSAGES_A_TURN):
                    if (frames := self._next()) is None:
                        await self._news.wait()
                        break
                    connection = self._connections.took(frames)
                    if not take(frames[0].bytes, [frame.bytes for frame in frames[1:]]):
                        self._connections.complain(connection)
                # Consumers that never stop sending must not block the other coroutines.
                await asyncio.sleep(0)
        finally:
            loop.remove_reader(descriptor)

    def _next(self) -> list[zmq.Frame] | None:
        """Return a message that is already waiting; None if there is none, and `_news` says when to ask again."""
        self._news.clear()
        try:
            frames = [self._socket.recv(zmq.DONTWAIT, copy=False)]
        except zmq.Again:
            return None
        while frames[-1].more:
            frames.append(self._socket.recv(copy=False))
        return frames

    async def guard(self) -> None:
        """Close connections that use too much memory, and notice closed ones, forever."""
        await self._connections.watch(self._leases.cut)

    def send(self, grant: WorkGrant) -> bool:
        """Send a WORK message; False if its consumer can't be reached."""
        items = [
            _item(ready.object, inline=ready.data is not None, trial=self._trial_of(ready.object.job))
            for ready in grant.items
        ]
        payloads = [ready.data for ready in grant.items if ready.data is not None]
        return self._send(grant.identity, Work(items), payloads)

    def answer(self, identity: bytes, message: Message) -> None:
        """Send an unimportant message: if it can't be sent, the peer is gone or doesn't listen."""
        self._send(identity, message)

    def farewell(self) -> None:
        """Tell every consumer to connect to the successor."""
        for session in list(self._leases.sessions):
            self._send(session.identity, Bye())

    def _set_up(self, settings: Settings, strangers: StrangerBounds) -> None:
        socket = self._socket
        socket.copy_threshold = LARGE_BYTES
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        socket.setsockopt(zmq.MAXMSGSIZE, HEADER_MAX_BYTES)
        socket.setsockopt(zmq.RCVHWM, RECEIVE_QUEUE)
        socket.setsockopt(zmq.SNDHWM, SEND_QUEUE)
        socket.setsockopt(zmq.LINGER, LINGER_MILLISECONDS)
        # No heartbeats of ZeroMQ's own: their timer aborts this process (an assertion) if a peer is gone whose messages
        # fill the queue. If the other end vanished, its connection is closed some time after its session.
        socket.setsockopt(zmq.HANDSHAKE_IVL, int(strangers.seconds * 1000))
        socket.setsockopt(zmq.IPV6, int("[" in settings.bind or "*" in settings.bind))

    def _send(self, identity: bytes, message: Message, payloads: Sequence[bytes] = ()) -> bool:
        """Send without waiting. Return False if the peer is gone, or too far behind."""
        copies = all(len(each) < LARGE_BYTES for each in payloads)
        # ZeroMQ looks for messages while it sends, and then doesn't tell of those that it found.
        self._news.set()
        try:
            self._socket.send_multipart([identity, *encode(message, payloads)], zmq.DONTWAIT, copy=copies)
        except zmq.ZMQError as error:
            if error.errno in {errno.EHOSTUNREACH, zmq.EAGAIN}:
                return False
            raise
        self._leases.tell(identity)
        return True


def _item(found: StreamedObject, *, inline: bool, trial: int) -> WorkItem:
    return WorkItem(
        id=found.id,
        job=found.job,
        model=found.model,
        source=found.source,
        key=found.key,
        etag=found.etag,
        size=found.size,
        inline=inline,
        alone=found.alone,
        trial=trial,
        deaths=found.deaths,
    )
