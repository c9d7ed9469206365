"""Handles consumers' messages: updates leases, and notifies the dispatcher."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from producer.leased import ConsumerDeath, Lease, StreamedObject
from producer.leases import LeaseTable
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
)
from sluice.telemetry import get_logger, metrics

log = get_logger()

REJECTED_LOG_SECONDS: Final = 10.0
MOST_SESSIONS: Final = 4096


class LeaseEvents(Protocol):
    """Receives what consumers report about their objects."""

    def finished(self, leases: Sequence[Lease]) -> None:
        """Handle committed objects."""
        ...

    def failed(self, pairs: Sequence[tuple[StreamedObject, Failure]]) -> None:
        """Handle objects that can't be classified, by their own fault."""
        ...

    def returned(self, objects: Sequence[StreamedObject], why: str = "") -> None:
        """Handle objects that were given back; a `why` means that their model is at fault. Nobody died."""
        ...

    def died(self, loss: ConsumerDeath) -> None:
        """Handle objects of a consumer that died."""
        ...

    def wake(self) -> None:
        """Check again, because there may be credit now."""
        ...


class Inbox:
    """Acts on messages, and answers them."""

    def __init__(self, leases: LeaseTable, events: LeaseEvents, answer: Callable[[bytes, Message], None]) -> None:
        self._leases = leases
        self._events = events
        self._answer = answer
        self._rejected = 0
        self._rejected_logged = float("-inf")

    def take(self, identity: bytes, frames: Sequence[bytes]) -> bool:
        """Act on one message, and return whether it was usable; an unusable one is answered with ERROR.

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

    def _obey(self, identity: bytes, message: Message, now: float, *, is_known: bool) -> None:  # noqa: C901 - one branch a kind
        if isinstance(message, Hello):
            self._greet(identity, message, now)
        elif isinstance(message, Error):
            log.warning("error from a consumer", code=message.code, detail=message.detail)
        elif isinstance(message, Bye):
            log.info("consumer left")
            self._events.returned(self._leases.bye(identity))
            self._answer(identity, Bye())
        elif isinstance(message, Work | Pong):
            raise ProtocolError(f"only producers send {type(message).__name__}")
        elif not is_known:
            self._end(identity, "send HELLO first, with a new identity")
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
                self._end(identity, "messages were lost: send HELLO again, with a new identity")
            else:
                self._answer(identity, Pong(self._leases.told(identity)))

    def _greet(self, identity: bytes, hello: Hello, now: float) -> None:
        if len(self._leases.sessions) >= MOST_SESSIONS:
            raise ProtocolError(f"there are {MOST_SESSIONS} sessions already")
        log.info("consumer connected", consumer=hello.consumer)
        self._events.returned(self._leases.hello(identity, hello.consumer, now, hello.line, hello.session))

    def _end(self, identity: bytes, why: str) -> None:
        """Tell a consumer that it has no session here. If it had one, its objects go back without a death."""
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
