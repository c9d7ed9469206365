"""Peers that speak ZMTP by hand, to do what ZeroMQ wouldn't."""

from __future__ import annotations

import socket
import struct
from typing import Final

GREETING: Final = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48)
MORE, LONG, COMMAND = 1, 2, 4


def connect(address: str, identity: bytes = b"") -> socket.socket:
    """Connect and do the handshake of a DEALER."""
    peer = knock(address)
    peer.sendall(GREETING)
    properties = b"".join(
        bytes([len(name)]) + name + struct.pack(">I", len(value)) + value
        for name, value in ((b"Socket-Type", b"DEALER"), (b"Identity", identity))
    )
    peer.sendall(frame(b"\x05READY" + properties, COMMAND))
    # The other side treats anything that arrives before it is ready as an error.
    peer.recv(len(GREETING), socket.MSG_WAITALL)
    _, size = peer.recv(2, socket.MSG_WAITALL)
    peer.recv(size, socket.MSG_WAITALL)
    return peer


def knock(address: str) -> socket.socket:
    """Connect and send nothing."""
    return socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 60)


def frame(body: bytes, flags: int = 0) -> bytes:
    """Return one frame as it is on the wire."""
    size = bytes([flags, len(body)]) if len(body) < 256 else bytes([flags | LONG]) + struct.pack(">Q", len(body))
    return size + body


def message(frames: list[bytes]) -> bytes:
    """Return one message as it is on the wire."""
    return b"".join(frame(body, MORE) for body in frames[:-1]) + frame(frames[-1])


def until_closed(peer: socket.socket) -> None:
    """Wait for the other side to close the connection; read its data until then."""
    try:
        while peer.recv(1 << 16):
            pass
    except ConnectionError:
        pass
