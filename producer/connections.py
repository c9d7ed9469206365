"""Bounds the memory that each connection uses, and closes connections that use too much.

ZeroMQ bounds a frame and the number of complete messages in its queue, but not the frames of a message that never ends,
which it keeps invisibly. The kernel knows how many bytes arrived on a connection (TCP_INFO), and the router how many it
has read, so the difference is held in memory; ZeroMQ's monitor tells which descriptors are connections.

A descriptor belongs to ZeroMQ's own thread, which may close it at any time. So it is only used through a short-lived
copy, and shut down only if the copy's peer is the one that was accepted. The next connection may get the same
descriptor, so what ended or began before a message is looked at before it introduces a connection.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import zmq
import zmq.asyncio
from zmq.utils.monitor import parse_monitor_message

from sluice.telemetry import get_logger

log = get_logger()

KIB: Final = 1024
MOST_BYTES: Final = 2048 * KIB
"""For one connection. Consumers send some hundred bytes a second, and never more than a frame at once."""
MOST_BYTES_OF_STRANGERS: Final = 64 * KIB
"""For one connection without a session: HELLO and the messages with it are some hundred bytes."""
MOST_BYTES_TOGETHER: Final = 16 * 1024 * KIB
MOST_CONNECTIONS: Final = 4096
MOST_COMPLAINTS: Final = 256
FRAME_BYTES: Final = 48
"""Maximum overhead of a frame on the wire."""
IDLE_BYTES: Final = KIB
"""Bytes that may arrive between two messages without being one: a handshake, ZeroMQ's own heartbeats."""
LOOK_SECONDS: Final = 0.05
LOOK_SECONDS_EACH: Final = 0.002
"""Checking many connections takes long, so they are checked less often."""
BYTES_RECEIVED: Final = 128
TCP_INFO_BYTES: Final = 136


@dataclass(frozen=True, slots=True)
class StrangerBounds:
    """How many connections may be without a session at once, and for how long each."""

    most: int = 128
    seconds: float = 10.0


BOUNDS: Final = StrangerBounds()


@dataclass(slots=True, eq=False)
class PeerConnection:
    """A connection of a consumer or a stranger."""

    descriptor: int
    peer: tuple[object, ...]
    strange_since: float
    identity: bytes = b""
    taken: int = 0
    """Bytes that arrived and were read, as far as known."""
    held: int = 0
    has_spoken: bool = False
    """Whether a message was read since the last check."""
    complaints: int = 0
    is_ended: bool = False
    """Shut down, though ZeroMQ hasn't reported its end yet."""


class PeerConnections:
    """All connections of one bound socket."""

    def __init__(
        self,
        bound: zmq.Socket[bytes],
        context: zmq.asyncio.Context,
        has_session: Callable[[bytes], bool],
        strangers: StrangerBounds = BOUNDS,
    ) -> None:
        self._has_session = has_session
        self._all: dict[int, PeerConnection] = {}
        self._gone: list[bytes] = []
        """Identities whose connections have ended; their earlier messages may still be unread."""
        self._bound = bound
        self._strangers = strangers
        address = f"inproc://connections-{id(self)}"
        bound.monitor(address, zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        self._events = context.socket(zmq.PAIR)
        # If this is full, ZeroMQ's thread blocks, and all connections with it.
        self._events.rcvhwm = 0
        self._events.connect(address)
        self._events_at_once: zmq.Socket[bytes] = zmq.Socket.shadow(self._events)
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = MOST_CONNECTIONS if files == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, files // 2)

    def close(self) -> None:
        """Stop watching all connections; call it before the socket is closed."""
        self._bound.monitor(None, 0)
        self._events.close()

    async def watch(self, on_end: Callable[[bytes], None]) -> None:
        """Follow the connections forever; `on_end` is called with the identities of those that ended."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._look(on_end))

    def took(self, frames: Sequence[zmq.Frame]) -> PeerConnection | None:
        """Record a received message; return its connection, if that is still known."""
        try:
            descriptor = int(frames[-1].get(zmq.SRCFD))
        except zmq.ZMQError:
            return None  # it speaks an old version of ZeroMQ, and stays without a session
        identity = frames[0].bytes
        connection = self._all.get(descriptor)
        if connection is None or connection.identity != identity:
            self._catch_up()
            connection = self._all.get(descriptor)
        if connection is not None:
            if connection.identity != identity:
                self._introduce(connection, identity)
            connection.taken += sum(len(frame) + FRAME_BYTES for frame in frames[1:])
            connection.has_spoken = True
        return connection

    def complain(self, connection: PeerConnection | None) -> None:
        """Record an unusable message; a connection that sends many of them is closed."""
        if connection is not None:
            connection.complaints += 1
            if connection.complaints == MOST_COMPLAINTS:
                self._end(connection, f"{MOST_COMPLAINTS} of its messages could not be used")

    def _introduce(self, connection: PeerConnection, identity: bytes) -> None:
        """Record a connection's identity. ZeroMQ uses one connection per identity; an earlier one leads nowhere."""
        for each in self._all.values():
            if each.identity == identity and not each.is_ended:
                self._end(each, "another connection took its place")
        connection.identity = identity

    async def _follow(self) -> None:
        while True:
            await self._events.poll()
            self._catch_up()

    def _catch_up(self) -> None:
        """Handle all events until now. ZeroMQ tells of a connection before it passes on its first message."""
        with suppress(zmq.Again):
            while True:
                event = parse_monitor_message(self._events_at_once.recv_multipart(zmq.DONTWAIT))
                ended = self._all.pop(event["value"], None)
                if ended is not None:
                    self._gone.append(ended.identity)
                if event["event"] == zmq.EVENT_ACCEPTED:
                    self._accept(event["value"])

    def _accept(self, descriptor: int) -> None:
        try:
            with _copy(descriptor) as copy:
                peer = copy.getpeername()
        except OSError:
            return  # already closed
        self._all[descriptor] = PeerConnection(descriptor, peer, time.monotonic())
        strangers = [each for each in self._all.values() if not (each.is_ended or self._has_session(each.identity))]
        if len(strangers) > self._strangers.most or len(self._all) > self._most:
            # The address with most of them loses its oldest one, so that others can connect.
            hosts = Counter(each.peer[0] for each in strangers)
            host, _ = hosts.most_common(1)[0]
            oldest = next(each for each in strangers if each.peer[0] == host)
            self._end(oldest, f"{len(strangers)} connections have no session")

    async def _look(self, on_end: Callable[[bytes], None]) -> None:
        while True:
            gone, self._gone = self._gone, []
            await asyncio.sleep(max(LOOK_SECONDS, LOOK_SECONDS_EACH * len(self._all)))
            for identity in gone:
                on_end(identity)
            now = time.monotonic()
            living = [each for each in self._all.values() if not each.is_ended]
            for connection in living:
                self._measure(connection)
                if self._has_session(connection.identity):
                    connection.strange_since = now
                    most = MOST_BYTES
                else:
                    most = MOST_BYTES_OF_STRANGERS
                if connection.held > most:
                    self._end(connection, f"it sent {connection.held} bytes without a complete message")
                elif now - connection.strange_since > self._strangers.seconds:
                    self._end(connection, f"it has had no session for {self._strangers.seconds:.0f} s")
            living = [each for each in living if not each.is_ended]
            if sum(each.held for each in living) > MOST_BYTES_TOGETHER:
                largest = max(living, key=lambda each: each.held)
                self._end(largest, "all connections together sent too many bytes without complete messages")

    @staticmethod
    def _measure(connection: PeerConnection) -> None:
        with suppress(OSError), _copy(connection.descriptor, socket.AF_INET) as copy:
            info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
            if len(info) < TCP_INFO_BYTES:
                return
            (received,) = struct.unpack_from("=Q", info, BYTES_RECEIVED)
            if connection.has_spoken:
                connection.taken += IDLE_BYTES
                connection.has_spoken = False
            connection.taken = min(connection.taken, received)
            connection.held = received - connection.taken

    @staticmethod
    def _end(connection: PeerConnection, why: str) -> None:
        """Shut a connection down; ZeroMQ then notices the end, and frees its memory."""
        connection.is_ended = True
        with suppress(OSError), _copy(connection.descriptor) as copy:
            if copy.getpeername() == connection.peer:
                log.warning("closing a connection", peer=str(connection.peer[0]), why=why)
                # Reset when ZeroMQ closes it: otherwise a peer whose bytes found no space wouldn't notice the end.
                copy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                copy.shutdown(socket.SHUT_RDWR)


def _copy(descriptor: int, family: int = -1) -> socket.socket:
    """Return a duplicate socket. Looking up the family takes long, and only addresses depend on it."""
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, os.dup(descriptor))
