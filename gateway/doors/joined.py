"""Answers in one piece: an HTTP server writes head and body one after the other, and each would be a packet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

MOST: Final = 64 * 1024
"""Bytes that wait for the end of a turn; with more the transport says when it is enough."""


class JoinedWrites(asyncio.Transport):
    """A transport that sends what is written within one turn of the event loop at once, at the turn's end."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes | bytearray | memoryview] = []
        self._waiting = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes with those of the same turn."""
        if not data:
            return
        if not self._parts:
            self._loop.call_soon(self._send)
        self._parts.append(data)
        self._waiting += len(data)
        if self._waiting > MOST:
            self._send()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send bytes with those of the same turn."""
        for data in list_of_data:
            self.write(data)

    def flush(self) -> None:
        """Send what waits now: nothing more comes in this turn."""
        self._send()

    def close(self) -> None:
        """Send what waits, then close."""
        self._send()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._parts, self._waiting = [], 0
        self._transport.abort()

    def is_closing(self) -> bool:
        """Return whether it closes, or is closed."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """Read no more for now."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._transport.resume_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Have another protocol take what comes, as after an upgrade of the connection."""
        self._send()
        self._transport.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return who takes what comes."""
        return self._transport.get_protocol()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Bound what waits for the client."""
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait, here and for the client."""
        return self._waiting + self._transport.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as asyncio has it
        """Return what is known about the connection."""
        return self._transport.get_extra_info(name, default)

    def _send(self) -> None:
        parts, self._parts, self._waiting = self._parts, [], 0
        if parts and not self._transport.is_closing():
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))
