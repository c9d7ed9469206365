"""Connections: how long a client may take over a head, or over taking its answer, and how many clients there may be."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.doors.joined import JoinedWrites

FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, which ends connections that only hold on.

    uvicorn waits for ever for the rest of a head, for a body that no route reads any more, and for a client that takes
    nothing of its answer. Bodies that a route reads have their bounds in `Bodies`.
    """

    head_seconds: ClassVar[float] = 20.0
    """From the first byte, or the connection's beginning, to the end of a head."""
    taking_seconds: ClassVar[float] = 60.0
    """Without room for more of an answer; an answer that goes on at all has no bound."""
    most: ClassVar[int] = 2000

    _head_timer: asyncio.TimerHandle | None = None
    _taking_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Begin to wait for a head; beyond the bound nobody is let in."""
        super().connection_made(JoinedWrites(transport, self.loop))
        if len(self.connections) > self.most:
            transport.write(FULL)
            transport.close()
            return
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._end_head_timer()
        self._end_taking_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in; those that make no request don't prolong the wait for one."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._is_answering():
            self._end_head_timer()
        elif self._head_timer is None and not self.transport.is_closing():
            self._wait_for_head()

    def on_response_complete(self) -> None:
        """Send the answer's end at once: the log line and the metrics come later in the same turn."""
        if isinstance(self.transport, JoinedWrites):
            self.transport.flush()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Give the client some time to take what is there."""
        super().pause_writing()
        if self._taking_timer is None:
            self._taking_timer = self.loop.call_later(self.taking_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Let the answer go on."""
        self._end_taking_timer()
        super().resume_writing()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait_for_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._give_up)

    def _give_up(self) -> None:
        self._head_timer = None
        if self._is_answering() or self.transport.is_closing():
            return
        if self.conn.our_state is h11.IDLE:
            status = HTTPStatus.REQUEST_TIMEOUT
            headers = [("Content-Length", "0"), ("Connection", "close")]
            answer = h11.Response(status_code=status, headers=headers, reason=status.phrase)
            self.transport.write(self.conn.send(answer) or b"")
        self.transport.close()

    def _end_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_taking_timer(self) -> None:
        if self._taking_timer is not None:
            self._taking_timer.cancel()
            self._taking_timer = None
