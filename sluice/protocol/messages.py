"""The messages between producer and consumer: one frozen struct for each kind."""

from __future__ import annotations

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Id = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]

WHY_MAX = 300


class Message(msgspec.Struct, frozen=True):
    """The base of all messages. Readers ignore unknown fields, so fields may be added to any message."""


class Hello(Message, frozen=True, omit_defaults=True):
    """Consumer: begins a session, and ends earlier ones with its address."""

    consumer: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    line: Annotated[bytes, msgspec.Meta(max_length=32)] = b""
    """Random, and the same in all sessions of this process with this producer, so that nobody else can end them."""
    session: Count = 0
    """The number of the session; a later one ends those before it."""


class Credit(Message, frozen=True, omit_defaults=True):
    """Consumer: takes `limit` objects in total in this session, and has received `received`.

    Both count from HELLO and never decrease, so a repeated message is harmless.
    """

    limit: Count
    received: Count
    why: Annotated[str, msgspec.Meta(max_length=WHY_MAX)] = ""
    """Why the limit doesn't rise, for people."""


class WorkItem(msgspec.Struct, frozen=True):
    """One leased object. Its bytes are a payload frame of the same message if `inline`."""

    id: Id
    job: Id
    model: Id
    source: str
    key: bytes
    etag: str
    size: Count
    inline: bool
    alone: bool
    """Whether a consumer died with this object: no other object may be processed meanwhile."""
    trial: Count = 0
    """The trial whose candidate answers as well, or instead, if the content is in its share; 0: none."""
    deaths: Count = 0
    """How many consumers died with it: after two of them no candidate is asked."""


class Work(Message, frozen=True):
    """Producer: leases these objects. The n-th inline item's bytes are the n-th payload frame."""

    items: list[WorkItem]


class Done(Message, frozen=True):
    """Consumer: these objects are committed, by it or by another consumer; their leases end."""

    ids: list[Id]


class Failure(msgspec.Struct, frozen=True):
    """One object that can't be classified: its reason is a `Reason`, a `ReadFailure`, or what a newer version says."""

    id: Id
    reason: Annotated[str, msgspec.Meta(max_length=32)]
    detail: Annotated[str, msgspec.Meta(max_length=500)]


class Failed(Message, frozen=True):
    """Consumer: these objects can't be classified, by their own fault."""

    failures: list[Failure]


class Return(Message, frozen=True, omit_defaults=True):
    """Consumer: won't finish these objects; lease them to others. It isn't their fault."""

    ids: list[Id]
    why: Annotated[str, msgspec.Meta(max_length=WHY_MAX)] = ""
    """What is wrong with their model while other models predict, for people."""


class Ping(Message, frozen=True, omit_defaults=True):
    """Consumer: is alive."""

    sent: Count | None = None
    """Number of messages that the consumer sent in this session before this one."""


class Pong(Message, frozen=True, omit_defaults=True):
    """Producer: is alive and knows the session. An unknown consumer gets ERROR instead."""

    sent: Count | None = None
    """Number of messages that the producer sent in this session before this one."""


class Bye(Message, frozen=True):
    """Consumer: leaves, and its objects go back. Producer: leaves; send HELLO to its successor."""


class Error(Message, frozen=True):
    """Either: the message couldn't be used."""

    code: Annotated[str, msgspec.Meta(max_length=32)]
    detail: Annotated[str, msgspec.Meta(max_length=500)]
