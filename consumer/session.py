"""One session with a producer.

A session is one connection with one random identity, from HELLO until it is lost. Its leases are lost with it; objects
in progress are finished anyway, because a late or repeated commit has no effect.

ZeroMQ would reconnect with the same identity, and not report messages lost in between. So both sides count their
messages, and a session ends with its connection.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import zmq
import zmq.asyncio
from zmq.utils.monitor import parse_monitor_message

from consumer.credit import CreditAccount
from consumer.held import HeldObject
from consumer.queues import ByteBudget
from sluice.errors import ProtocolError
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
    decode,
    encode,
)
from sluice.protocol.messages import WHY_MAX
from sluice.protocol.sockets import HEARTBEATS_MISSED, receive_now, send_now
from sluice.settings import Settings
from sluice.telemetry import get_logger, metrics

log = get_logger()

CONNECTED: Final = zmq.EVENT_HANDSHAKE_SUCCEEDED
MESSAGES_A_TURN: Final = 32
FAILURES_A_MESSAGE: Final = 256
QUEUED_MESSAGES: Final = 8
"""Messages that ZeroMQ buffers here: few, so that unread bytes stay with the producer, which counts them."""
RECONNECT_MILLISECONDS: Final = (100, 1000)
FAREWELL_MILLISECONDS: Final = 1000
BYE_SECONDS: Final = 0.5
"""How long a BYE waits for its answer."""


class WorkReceiver(Protocol):
    """Takes the work, and decides how much to ask for."""

    @property
    def budget(self) -> ByteBudget:
        """Return the byte budget that payloads are reserved in."""

    def window(self) -> int:
        """Return how many objects one session may hold now; 0: none beyond what it was promised."""

    def why_not(self) -> str:
        """Return why it doesn't ask for more; empty if it is only busy."""

    def accept(self, objects: list[HeldObject]) -> None:
        """Take leased objects."""


@dataclass(frozen=True)
class SessionId:
    """The number of a session, and the line that it belongs to."""

    line: bytes
    number: int


class ProducerSession:
    """One session, on its own socket, which isn't connected yet."""

    def __init__(
        self, address: str, socket: zmq.asyncio.Socket, settings: Settings, host: WorkReceiver, place: SessionId
    ) -> None:
        self.address = address
        self._place = place
        self.is_lost = False
        self.was_heard = False
        self.was_connected = False
        self.has_parted = False
        self.account = CreditAccount()
        self._settings = settings
        self._host = host
        self._budget = host.budget
        self._ids: set[int] = set()
        self._told = (-1, -1, "")
        self._is_leaving = False
        self._said = 0
        self._heard = 0
        self._last_heard = time.monotonic()
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._socket = socket
        socket.linger = 0
        identity = os.urandom(16)
        socket.routing_id = identity
        # Not for names: those of a producer that listens on IPv4 may have an address of IPv6 too.
        socket.ipv6 = "[" in address
        socket.rcvhwm = QUEUED_MESSAGES
        socket.maxmsgsize = max(settings.prefetch_bytes, settings.inline_max_bytes)
        socket.reconnect_ivl, socket.reconnect_ivl_max = RECONNECT_MILLISECONDS
        self._ends = socket.get_monitor_socket(CONNECTED | zmq.EVENT_DISCONNECTED, f"inproc://{identity.hex()}")
        socket.connect(address)

    async def run(self, *, to_leave: bool = False) -> str:
        """Talk until the session is lost, and return why; with `to_leave`, only send BYE."""
        self._send(Hello(consumer=self._settings.name, line=self._place.line, session=self._place.number))
        if to_leave:
            self.leave(BYE_SECONDS)
        else:
            self.extend_credit()
            self._send(Ping(self._said))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work) for work in (self._listen(), self._beat(), self._watch())]
                why = await self._over
                for task in tasks:
                    task.cancel()
        finally:
            self.is_lost = True
            self._socket.disable_monitor()
            self._ends.close()
            self._socket.close()
        return why

    def leave(self, patience: float | None = None) -> None:
        """Send BYE, and wait a moment for the answer, since BYE may be lost until then."""
        if self.is_lost:
            return
        self._send(Bye())
        self._socket.linger = FAREWELL_MILLISECONDS
        self._is_leaving = True
        if patience is None:
            patience = BYE_SECONDS if self.was_connected else 0.0
        asyncio.get_running_loop().call_later(patience, self._end, "this consumer leaves")

    def done(self, ids: Sequence[int]) -> None:
        """Report that predictions are committed."""
        if theirs := self._let_go(ids):
            self._send(Done(ids=theirs))
            self.extend_credit()

    def failed(self, failures: Sequence[Failure]) -> None:
        """Report that objects can't be classified."""
        theirs = set(self._let_go([failure.id for failure in failures]))
        if theirs:
            told = [failure for failure in failures if failure.id in theirs]
            for first in range(0, len(told), FAILURES_A_MESSAGE):
                self._send(Failed(failures=told[first : first + FAILURES_A_MESSAGE]))
            self.extend_credit()

    def give_back(self, ids: Sequence[int], why: str = "") -> None:
        """Give objects back, and report what is wrong with their model."""
        if theirs := self._let_go(ids):
            self._send(Return(ids=theirs, why=why[:WHY_MAX]))
            self.extend_credit()

    def extend_credit(self) -> None:
        """Ask for as much more as the window allows, and report how much has arrived."""
        window = self._host.window()
        self.account.extend(window)
        # Received objects are replaced by new ones; so while there is no space for more bytes, they aren't reported.
        received = max(0, self._told[1]) if self._budget.is_full else self.account.received
        now = (self.account.limit, received, "" if window else self._host.why_not()[:WHY_MAX])
        if now != self._told:
            self._told = now
            self._send(Credit(limit=now[0], received=now[1], why=now[2]))

    def _let_go(self, ids: Sequence[int]) -> list[int]:
        theirs = [number for number in ids if number in self._ids]
        self._ids.difference_update(theirs)
        self.account.finished += len(theirs)
        return theirs

    async def _listen(self) -> None:
        """Take messages as they arrive, except while there is no space for more bytes."""
        while True:
            if self._budget.is_full:
                await self._budget.wait()
                self._last_heard = time.monotonic()
            self._hear(await self._socket.recv_multipart())
            for _ in range(MESSAGES_A_TURN):
                if self._budget.is_full:
                    break
                waiting = receive_now(self._socket)
                if waiting is None:
                    break
                self._hear(waiting)
            self.extend_credit()
            # A producer that never stops sending must not block the other coroutines.
            await asyncio.sleep(0)

    async def _beat(self) -> None:
        """Send PING each heartbeat, and notice when the producer is silent."""
        while True:
            await asyncio.sleep(self._settings.heartbeat)
            silent = time.monotonic() - self._last_heard
            # Checked once a heartbeat: the last missed one isn't a full heartbeat ago yet.
            if silent > (HEARTBEATS_MISSED - 0.5) * self._settings.heartbeat and not self._budget.is_full:
                self._end(f"nothing was heard for {silent:.1f} s")
            self._send(Ping(self._said))
            self.extend_credit()

    async def _watch(self) -> None:
        """Notice that the connection ends, because messages in transit may be lost."""
        while parse_monitor_message(await self._ends.recv_multipart())["event"] == CONNECTED:
            self.was_connected = True
        self._end("the connection was lost")

    def _hear(self, frames: list[bytes]) -> None:
        """Handle one message; whatever its bytes, the worst that happens is an ERROR."""
        self._last_heard = time.monotonic()
        self._heard += 1
        try:
            message, payloads = decode(frames)
            match message:
                case Work():
                    self._take(message, payloads)
                case Pong():
                    self.was_heard = True
                    if message.sent not in (None, self._heard - 1):
                        self._end(f"{self._heard - 1} messages arrived, {message.sent} were sent")
                case Bye():
                    self.has_parted = True
                    self._end("this consumer leaves" if self._is_leaving else "the producer leaves")
                case Error(code="unknown_session"):
                    self._end("the producer doesn't know this session")
                case Error():
                    log.warning("the producer rejected a message", producer=self.address, error=message.code)
                case _:
                    self._refuse(f"a producer never says {type(message).__name__}")
        except ProtocolError as error:
            self._refuse(str(error))

    def _refuse(self, why: str) -> None:
        metrics.REJECTED_FRAMES.inc()
        log.warning("a message can't be used", producer=self.address, why=why[:300])
        self._send(Error(code="malformed", detail=why[:500]))

    def _take(self, work: Work, payloads: Sequence[bytes]) -> None:
        """Accept leased objects, at most as many as were asked for; objects that cross our BYE went back with it."""
        if self._is_leaving:
            return
        if len(work.items) > self.account.open:
            self._refuse(f"{len(work.items)} objects arrived, {self.account.open} were asked for: none is taken")
            return
        self.was_heard = True
        now = time.monotonic()
        data = iter(payloads)
        taken: list[HeldObject] = []
        for item in work.items:
            held = HeldObject(item, self, now, data=next(data) if item.inline else None)
            self.account.received += 1
            if item.id in self._ids:
                self.account.finished += 1
                continue
            self._ids.add(item.id)
            taken.append(held)
        metrics.RECEIVED.inc(len(taken))
        self._host.accept(taken)

    def _send(self, message: Message) -> None:
        """Send without waiting; a full socket means that the producer is gone. BYE is the last message."""
        if self._socket.closed or self._is_leaving:
            return
        error = send_now(self._socket, encode(message))
        if error is None:
            self._said += 1
        else:
            self._end(f"a message can't be sent: {error}")

    def _end(self, why: str) -> None:
        if not self._over.done():
            self._over.set_result(why)
