"""Converts messages to frames and back.

A message is one frame of two bytes (version, kind), one frame of msgpack (the header), and for WORK payload frames. Any
unreadable input raises ProtocolError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from sluice.errors import ProtocolError
from sluice.protocol.messages import (
    Bye,
    Credit,
    Done,
    Error,
    Failed,
    Hello,
    Message,
    Ping,
    Pong,
    Return,
    Work,
)

VERSION: Final = 1
KINDS: Final[dict[int, type[Message]]] = {
    1: Hello,
    2: Credit,
    3: Work,
    4: Done,
    5: Failed,
    6: Return,
    7: Ping,
    8: Pong,
    9: Bye,
    10: Error,
}
# Consumers send lists of at most 4,096 ids (37 KB), or 256 failures (0.6 MB).
HEADER_MAX_BYTES: Final = 1024 * 1024
FIXED_FRAMES: Final = 2

_kind_of: Final = {message: kind for kind, message in KINDS.items()}
_encoder: Final = msgspec.msgpack.Encoder()
_decoders: Final = {kind: msgspec.msgpack.Decoder(message) for kind, message in KINDS.items()}


def encode(message: Message, payloads: Sequence[bytes] = ()) -> list[bytes]:
    """Return the frames of a message."""
    return [bytes((VERSION, _kind_of[type(message)])), _encoder.encode(message), *payloads]


def decode(frames: Sequence[bytes]) -> tuple[Message, Sequence[bytes]]:
    """Return the message in `frames` and its payloads."""
    if len(frames) < FIXED_FRAMES or len(frames[0]) != FIXED_FRAMES:
        raise ProtocolError(f"expected a version-and-kind frame and a header, found {len(frames)} frames")
    version, kind = frames[0]
    if version != VERSION:
        raise ProtocolError(f"expected protocol version {VERSION}, found {version}: upgrade the older side")
    if kind not in _decoders:
        raise ProtocolError(f"kind {kind} is unknown: upgrade the older side")
    if len(frames[1]) > HEADER_MAX_BYTES:
        raise ProtocolError(f"the header has {len(frames[1])} bytes, more than {HEADER_MAX_BYTES}")
    try:
        message = _decoders[kind].decode(frames[1])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"the header of a {KINDS[kind].__name__} can't be read: {error}") from None
    payloads = frames[FIXED_FRAMES:]
    expected = sum(item.inline for item in message.items) if isinstance(message, Work) else 0
    if len(payloads) != expected:
        raise ProtocolError(f"a {KINDS[kind].__name__} came with {len(payloads)} payload frames, expected {expected}")
    return message, payloads
