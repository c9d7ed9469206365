"""What both ends do with a ZeroMQ socket without waiting, and how long they trust a silent peer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, cast

import zmq
import zmq.asyncio

HEARTBEATS_MISSED: Final = 3
"""So many heartbeats of silence, and either end gives up the session."""


def send_now(socket: zmq.asyncio.Socket, frames: Sequence[bytes], *, copy: bool = True) -> BaseException | None:
    """Send without waiting; return what is against it. A future that pyzmq gives for this is done already."""
    sent = cast("asyncio.Future[object]", socket.send_multipart(frames, zmq.DONTWAIT, copy=copy))
    return sent.exception()


def receive_now(socket: zmq.asyncio.Socket) -> list[bytes] | None:
    """Return the message that waits already; None if there is none."""
    received = cast("asyncio.Future[list[bytes]]", socket.recv_multipart(zmq.DONTWAIT))
    return received.result() if received.exception() is None else None
