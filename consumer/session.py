"""What is said in one session with a producer.

A session is one connection with one random identity, from HELLO until it is lost. Its leases are lost with it; what is
already being worked on is finished all the same, for a commit that comes late or twice changes nothing.

ZeroMQ would connect again under the same identity, and say nothing of the messages that were lost in between. So both
sides count what they say, and a session whose connection ends ends with it.
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
"""Messages that ZeroMQ keeps for us: few, so that bytes we don't read stay with the producer, which counts them."""
RECONNECT_MILLISECONDS: Final = (100, 1000)
FAREWELL_MILLISECONDS: Final = 1000
BYE_SECONDS: Final = 0.5
"""How long a BYE waits for its answer."""


class WorkReceiver(Protocol):
    """Whoever wants the work: it says how much, and takes it."""

    @property
    def budget(self) -> ByteBudget:
        """Return the byte budget that payloads are reserved in."""

    def window(self) -> int:
        """Return how many objects one session may hold now; 0: none more than it was promised."""

    def why_not(self) -> str:
        """Say what keeps it from asking for more; nothing, if it is merely busy."""

    def accept(self, objects: list[HeldObject]) -> None:
        """Take leased objects."""


@dataclass(frozen=True)
class SessionId:
    """The number of a session, and the link that it belongs to."""

    line: bytes
    number: int


class ProducerSession:
    """One conversation, on a socket of its own that isn't connected yet."""

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
        socket.rcvhwm = QUEUED_MESSAGES
        socket.maxmsgsize = max(settings.prefetch_bytes, settings.inline_max_bytes)
        socket.reconnect_ivl, socket.reconnect_ivl_max = RECONNECT_MILLISECONDS
        self._ends = socket.get_monitor_socket(CONNECTED | zmq.EVENT_DISCONNECTED, f"inproc://{identity.hex()}")
        socket.connect(address)

    async def run(self, *, to_leave: bool = False) -> str:
        """Talk until the session is lost, and say why it was; or only say that this consumer leaves."""
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
        """Say BYE, and wait a moment for the answer, if somebody may hear it: until then, it may be lost."""
        if self.is_lost:
            return
        self._send(Bye())
        self._socket.linger = FAREWELL_MILLISECONDS
        self._is_leaving = True
        if patience is None:
            patience = BYE_SECONDS if self.was_connected else 0.0
        asyncio.get_running_loop().call_later(patience, self._end, "this consumer leaves")

    def done(self, ids: Sequence[int]) -> None:
        """Tell that predictions are committed."""
        if theirs := self._let_go(ids):
            self._send(Done(ids=theirs))
            self.extend_credit()

    def failed(self, failures: Sequence[Failure]) -> None:
        """Tell that objects can't be classified."""
        theirs = set(self._let_go([failure.id for failure in failures]))
        if theirs:
            told = [failure for failure in failures if failure.id in theirs]
            for first in range(0, len(told), FAILURES_A_MESSAGE):
                self._send(Failed(failures=told[first : first + FAILURES_A_MESSAGE]))
            self.extend_credit()

    def give_back(self, ids: Sequence[int], why: str = "") -> None:
        """Tell that others may have them, and what is the matter with their model."""
        if theirs := self._let_go(ids):
            self._send(Return(ids=theirs, why=why[:WHY_MAX]))
            self.extend_credit()

    def extend_credit(self) -> None:
        """Ask for as much more as the window allows, and say how much has arrived."""
        window = self._host.window()
        self.account.extend(window)
        # What is said to have arrived is replaced: while there is no room for more bytes, it isn't said.
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
        """Take messages as they come, except while there is no room for the bytes of more."""
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
            # A producer that never stops talking must not keep the other coroutines from running.
            await asyncio.sleep(0)

    async def _beat(self) -> None:
        """Say each heartbeat that we live, and notice when the producer doesn't."""
        while True:
            await asyncio.sleep(self._settings.heartbeat)
            silent = time.monotonic() - self._last_heard
            # Looked at once a heartbeat: the last that goes by unanswered is not yet a whole one.
            if silent > (HEARTBEATS_MISSED - 0.5) * self._settings.heartbeat and not self._budget.is_full:
                self._end(f"nothing was heard for {silent:.1f} s")
            self._send(Ping(self._said))
            self.extend_credit()

    async def _watch(self) -> None:
        """Notice that the connection ends: what was under way on it may be lost."""
        while parse_monitor_message(await self._ends.recv_multipart())["event"] == CONNECTED:
            self.was_connected = True
        self._end("the connection was lost")

    def _hear(self, frames: list[bytes]) -> None:
        """Take in one message; whatever its bytes, it can't do worse than be refused."""
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
                        self._end(f"{self._heard - 1} messages came, {message.sent} were sent")
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
        """Accept leased objects, as many as were asked for; what crosses our BYE went back with it."""
        if self._is_leaving:
            return
        if len(work.items) > self.account.open:
            self._refuse(f"{len(work.items)} objects came, {self.account.open} were asked for: none is taken")
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
        """Send without waiting: a socket that is full of unsent messages leads to no producer. BYE is the last word."""
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
