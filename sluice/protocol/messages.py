"""What producer and consumer say to each other: one frozen struct a kind."""

from __future__ import annotations

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Id = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]

WHY_MAX = 300


class Message(msgspec.Struct, frozen=True):
    """What all messages are. A reader ignores fields that it doesn't know, so one may be added to any of them."""


class Hello(Message, frozen=True, omit_defaults=True):
    """Consumer: here I am; forget any session you had with my address."""

    consumer: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    line: Annotated[bytes, msgspec.Meta(max_length=32)] = b""
    """Random, and the same in all sessions of this process with this producer: nobody else can end one of them."""
    session: Count = 0
    """Which session of the line this is; a later one ends those before it."""


class Credit(Message, frozen=True, omit_defaults=True):
    """Consumer: in this session you may have sent me `limit` objects in all; I have received `received`.

    Both count from HELLO and never fall. Counting from the start makes a repeated message harmless.
    """

    limit: Count
    received: Count
    why: Annotated[str, msgspec.Meta(max_length=WHY_MAX)] = ""
    """Why the limit doesn't rise, in words for a person."""


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
    """A consumer died with this object: work on it with no other."""


class Work(Message, frozen=True):
    """Producer: these are yours. The n-th inline item's bytes are the n-th payload frame."""

    items: list[WorkItem]


class Done(Message, frozen=True):
    """Consumer: committed (or already committed by another): let go of these leases."""

    ids: list[Id]


class Failure(msgspec.Struct, frozen=True):
    """One object that can't be classified: its reason is a `Reason`, a `ReadFailure`, or what a newer version says."""

    id: Id
    reason: Annotated[str, msgspec.Meta(max_length=32)]
    detail: Annotated[str, msgspec.Meta(max_length=500)]


class Failed(Message, frozen=True):
    """Consumer: these can't be classified, by their own fault."""

    failures: list[Failure]


class Return(Message, frozen=True, omit_defaults=True):
    """Consumer: I have not finished these and won't; lease them to another. Not their fault."""

    ids: list[Id]
    why: Annotated[str, msgspec.Meta(max_length=WHY_MAX)] = ""
    """What is the matter with their model, in words for a person, while other models predict."""


class Ping(Message, frozen=True, omit_defaults=True):
    """Consumer: I live."""

    sent: Count | None = None
    """Messages that I sent in this session before this one."""


class Pong(Message, frozen=True, omit_defaults=True):
    """Producer: so do I, and I know you. To a consumer that it does not know, a producer answers ERROR instead."""

    sent: Count | None = None
    """Messages that I sent you in this session before this one."""


class Bye(Message, frozen=True):
    """Consumer: I leave; whatever I still hold goes back. Producer: I leave; say HELLO to my successor."""


class Error(Message, frozen=True):
    """Either: your message could not be used."""

    code: Annotated[str, msgspec.Meta(max_length=32)]
    detail: Annotated[str, msgspec.Meta(max_length=500)]
