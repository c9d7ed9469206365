"""The ZeroMQ side: one ROUTER socket, frames in and out. What they ask, `producer.inbox` does."""

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
from sluice.protocol.sockets import send_now
from sluice.settings import Settings
from sluice.telemetry import get_logger

log = get_logger()

# Consumers' messages are lists of ids: some hundred in a queue are plenty.
RECEIVE_QUEUE: Final = 256
SEND_QUEUE: Final = MOST_LEASES
MESSAGES_A_TURN: Final = 64
LINGER_MILLISECONDS: Final = 1000


class Router:
    """Binds, receives, sends. A context manager, so that the socket is always closed."""

    def __init__(self, settings: Settings, leases: LeaseTable, strangers: StrangerBounds = BOUNDS) -> None:
        self._leases = leases
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._gate = CurveAuthenticator(settings, self._context)
        self._set_up(settings, strangers)
        self._connections = PeerConnections(self._socket, self._context, strangers)
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
        """Take in messages for ever; `take` does what one asks, given its sender, and says whether it could be used."""
        while True:
            for _ in range(MESSAGES_A_TURN):
                frames = await self._socket.recv_multipart(copy=False)
                connection = self._connections.took(frames)
                if not take(frames[0].bytes, [frame.bytes for frame in frames[1:]]):
                    self._connections.complain(connection)
            # Consumers that never stop talking must not keep the other coroutines from running.
            await asyncio.sleep(0)

    async def guard(self) -> None:
        """End connections that make this process hold too much, and see which ones end, for ever."""
        await self._connections.watch(self._leases.knows, self._leases.cut)

    def send(self, grant: WorkGrant) -> bool:
        """Send a WORK message; False if its consumer can't be reached."""
        items = [_item(ready.object, inline=ready.data is not None) for ready in grant.items]
        payloads = [ready.data for ready in grant.items if ready.data is not None]
        return self._send(grant.identity, Work(items), payloads)

    def answer(self, identity: bytes, message: Message) -> None:
        """Send what nothing depends on: if it can't be sent, the peer is gone or doesn't listen."""
        self._send(identity, message)

    def farewell(self) -> None:
        """Tell every consumer to look for the successor."""
        for session in list(self._leases.sessions):
            self._send(session.identity, Bye())

    def _set_up(self, settings: Settings, strangers: StrangerBounds) -> None:
        socket = self._socket
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        socket.setsockopt(zmq.MAXMSGSIZE, HEADER_MAX_BYTES)
        socket.setsockopt(zmq.RCVHWM, RECEIVE_QUEUE)
        socket.setsockopt(zmq.SNDHWM, SEND_QUEUE)
        socket.setsockopt(zmq.LINGER, LINGER_MILLISECONDS)
        # No heartbeat of ZeroMQ's own: its timer ends this process (an assertion) when a peer is gone whose messages
        # fill the queue. Where the other end vanished, the connection is ended some time after its session.
        socket.setsockopt(zmq.HANDSHAKE_IVL, int(strangers.seconds * 1000))
        socket.setsockopt(zmq.IPV6, int("[" in settings.bind or "*" in settings.bind))

    def _send(self, identity: bytes, message: Message, payloads: Sequence[bytes] = ()) -> bool:
        """Send without waiting. False if the peer is gone, or so far behind that it will be."""
        frames = [identity, *encode(message, payloads)]
        error = send_now(self._socket, frames, copy=False)
        if error is None:
            self._leases.tell(identity)
            return True
        if isinstance(error, zmq.ZMQError) and error.errno in {errno.EHOSTUNREACH, zmq.EAGAIN}:
            return False
        raise error


def _item(found: StreamedObject, *, inline: bool) -> WorkItem:
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
    )
