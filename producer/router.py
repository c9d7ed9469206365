"""The ZeroMQ side: one ROUTER socket, frames in and out. Whose leases they move, `producer.leases` knows."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Sequence
from typing import Final, Protocol, Self

import zmq
import zmq.asyncio

from producer.connections import STRANGER_SECONDS, PeerConnections
from producer.leases import MOST_LEASES, ConsumerDeath, Lease, LeaseTable, StreamedObject, WorkGrant
from sluice.errors import ConfigurationError, ProtocolError
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
from sluice.protocol.curve import CurveAuthenticator
from sluice.protocol.frames import HEADER_MAX_BYTES
from sluice.protocol.sockets import send_now
from sluice.settings import Settings
from sluice.telemetry import get_logger, metrics

log = get_logger()

REJECTED_LOG_SECONDS: Final = 10.0
# Consumers' messages are lists of ids: some hundred in a queue are plenty.
RECEIVE_QUEUE: Final = 256
SEND_QUEUE: Final = MOST_LEASES
MOST_SESSIONS: Final = 4096
MESSAGES_A_TURN: Final = 64
LINGER_MILLISECONDS: Final = 1000


class LeaseEvents(Protocol):
    """Where the router takes what consumers say of their objects."""

    def finished(self, leases: Sequence[Lease]) -> None:
        """Committed."""
        ...

    def failed(self, pairs: Sequence[tuple[StreamedObject, Failure]]) -> None:
        """Can't be classified, by their own fault."""
        ...

    def returned(self, objects: Sequence[StreamedObject], why: str = "") -> None:
        """Given back unfinished, for their model's fault if there is a `why`; nobody died."""
        ...

    def died(self, loss: ConsumerDeath) -> None:
        """Held by a consumer that died."""
        ...

    def wake(self) -> None:
        """There may be credit now."""
        ...


class Router:
    """Binds, receives, answers, sends. A context manager, so that the socket is always closed."""

    def __init__(self, settings: Settings, leases: LeaseTable, events: LeaseEvents) -> None:
        self._leases = leases
        self._events = events
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._gate = CurveAuthenticator(settings, self._context)
        self._rejected = 0
        self._rejected_logged = float("-inf")
        self._set_up(settings)
        self._connections = PeerConnections(self._socket, self._context)
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

    async def receive(self) -> None:
        """Take in messages for ever."""
        while True:
            for _ in range(MESSAGES_A_TURN):
                frames = await self._socket.recv_multipart(copy=False)
                connection = self._connections.took(frames)
                if not self.take(frames[0].bytes, [frame.bytes for frame in frames[1:]]):
                    self._connections.complain(connection)
            # Consumers that never stop talking must not keep the other coroutines from running.
            await asyncio.sleep(0)

    async def guard(self) -> None:
        """End connections that make this process hold too much, and see which ones end, for ever."""
        await self._connections.watch(self._leases.knows, self._leases.cut)

    def take(self, identity: bytes, frames: Sequence[bytes]) -> bool:
        """Do what one message asks, and say whether it could be used; what can't is answered with ERROR.

        It never raises, whatever the bytes.
        """
        now = time.monotonic()
        is_known = self._leases.heard(identity, now)
        try:
            message, _ = decode(frames)
            self._obey(identity, message, now, is_known=is_known)
        except ProtocolError as error:
            self._reject(identity, "malformed", str(error))
            return False
        return self._leases.knows(identity) or isinstance(message, Bye)

    def send(self, grant: WorkGrant) -> bool:
        """Send a WORK message; False if its consumer can't be reached."""
        items = [_item(ready.object, inline=ready.data is not None) for ready in grant.items]
        payloads = [ready.data for ready in grant.items if ready.data is not None]
        return self._send(grant.identity, Work(items), payloads)

    def farewell(self) -> None:
        """Tell every consumer to look for the successor."""
        for session in list(self._leases.sessions):
            self._send(session.identity, Bye())

    def _set_up(self, settings: Settings) -> None:
        socket = self._socket
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        socket.setsockopt(zmq.MAXMSGSIZE, HEADER_MAX_BYTES)
        socket.setsockopt(zmq.RCVHWM, RECEIVE_QUEUE)
        socket.setsockopt(zmq.SNDHWM, SEND_QUEUE)
        socket.setsockopt(zmq.LINGER, LINGER_MILLISECONDS)
        # No heartbeat of ZeroMQ's own: its timer ends this process (an assertion) when a peer is gone whose messages
        # fill the queue. Where the other end vanished, the connection is ended some time after its session.
        socket.setsockopt(zmq.HANDSHAKE_IVL, int(STRANGER_SECONDS * 1000))
        socket.setsockopt(zmq.IPV6, int("[" in settings.bind or "*" in settings.bind))

    def _obey(self, identity: bytes, message: Message, now: float, *, is_known: bool) -> None:  # noqa: C901 - one branch a kind
        if isinstance(message, Hello):
            self._greet(identity, message, now)
        elif isinstance(message, Error):
            log.warning("a consumer complains", code=message.code, detail=message.detail)
        elif isinstance(message, Bye):
            log.info("consumer left")
            self._events.returned(self._leases.bye(identity))
            self._answer(identity, Bye())
        elif isinstance(message, Work | Pong):
            raise ProtocolError(f"a {type(message).__name__} is what a producer sends, not what it takes")
        elif not is_known:
            self._end(identity, "say HELLO first, under a fresh identity")
        elif isinstance(message, Credit):
            self._leases.extend(identity, message.limit, message.received, message.why)
            self._events.wake()
        elif isinstance(message, Done):
            self._events.finished(self._leases.done(identity, message.ids))
        elif isinstance(message, Failed):
            reasons = {failure.id: failure for failure in message.failures}
            self._events.failed([(o, reasons[o.id]) for o in self._leases.take(identity, reasons)])
        elif isinstance(message, Return):
            self._events.returned(self._leases.take(identity, message.ids), message.why)
        elif isinstance(message, Ping):
            if self._leases.has_lost(identity, message.sent):
                self._end(identity, "messages of yours were lost: say HELLO again, under a fresh identity")
            else:
                self._answer(identity, Pong(self._leases.told(identity)))

    def _greet(self, identity: bytes, hello: Hello, now: float) -> None:
        if len(self._leases.sessions) >= MOST_SESSIONS:
            raise ProtocolError(f"there are {MOST_SESSIONS} sessions already")
        log.info("consumer connected", consumer=hello.consumer)
        self._events.returned(self._leases.hello(identity, hello.consumer, now, hello.line, hello.session))

    def _end(self, identity: bytes, why: str) -> None:
        """Tell a consumer that it has no session here. If it had one, it lives, so what it held goes back unharmed."""
        back = self._leases.bye(identity)
        if back:
            log.info("messages were lost: the session is over", objects=len(back))
            self._events.returned(back)
        self._answer(identity, Error("unknown_session", why))

    def _reject(self, identity: bytes, code: str, detail: str) -> None:
        metrics.REJECTED_FRAMES.inc()
        self._rejected += 1
        now = time.monotonic()
        if now - self._rejected_logged >= REJECTED_LOG_SECONDS:
            log.warning("messages rejected", count=self._rejected, latest=detail[:200])
            self._rejected, self._rejected_logged = 0, now
        self._answer(identity, Error(code, detail[:500]))

    def _answer(self, identity: bytes, message: Message) -> None:
        """Send what nothing depends on: if it can't be sent, the peer is gone or doesn't listen."""
        self._send(identity, message)

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
