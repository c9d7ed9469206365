"""A consumer's non-blocking sends and receives, and how long both ends trust a silent peer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, cast

import zmq
import zmq.asyncio

HEARTBEATS_MISSED: Final = 3
"""After so many heartbeats of silence either end ends the session."""


def send_now(socket: zmq.asyncio.Socket, frames: Sequence[bytes]) -> BaseException | None:
    """Send without waiting; return the error if it fails. pyzmq's future is already done."""
    sent = cast("asyncio.Future[object]", socket.send_multipart(frames, zmq.DONTWAIT))
    return sent.exception()


def receive_now(socket: zmq.asyncio.Socket) -> list[bytes] | None:
    """Return a message that is already waiting; None if there is none."""
    received = cast("asyncio.Future[list[bytes]]", socket.recv_multipart(zmq.DONTWAIT))
    return received.result() if received.exception() is None else None
