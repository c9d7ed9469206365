"""The lease table's entries: objects on their way, and the sessions that hold them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

# Whatever credit a consumer claims, this bounds the ids in a message, and the objects that a death sends back.
MOST_LEASES: Final = 4096


@dataclass(frozen=True, slots=True)
class StreamedObject:
    """One pending object, as the producer holds it."""

    id: int
    job: int
    model: int
    source: str
    key: bytes
    etag: str
    size: int
    deaths: int = 0

    @property
    def alone(self) -> bool:
        """Whether a consumer died with it: then it is a suspect, and is sent with no other suspect."""
        return self.deaths > 0


@dataclass(frozen=True, slots=True)
class ReadyObject:
    """An object that can be sent now: with its bytes, or as a reference if `data` is None."""

    object: StreamedObject
    data: bytes | None
    since: float

    @property
    def size(self) -> int:
        """Bytes that it takes in this process's memory."""
        return 0 if self.data is None else len(self.data)


@dataclass(frozen=True, slots=True)
class Lease:
    """An object handed to a session."""

    object: StreamedObject
    since: float


@dataclass(frozen=True, slots=True)
class WorkGrant:
    """One WORK message to send."""

    identity: bytes
    items: list[ReadyObject]


@dataclass(frozen=True, slots=True)
class ConsumerDeath:
    """A consumer that died, and its objects: those that the death counts for, and the others."""

    consumer: str
    objects: list[StreamedObject]
    spared: list[StreamedObject] = field(default_factory=list)


@dataclass(slots=True)
class ConsumerSession:
    """A session of a consumer, from its HELLO on."""

    identity: bytes
    consumer: str
    silent_at: float
    line: bytes = b""
    """Identifies the consumer's numbered sessions; empty if the consumer is too old for it."""
    number: int = 0
    heard: int = 1
    told: int = 0
    """Number of messages received in this session, including HELLO, and sent."""
    is_cut: bool = False
    """Its connection is gone, perhaps with messages: it gets no more, and ends when the consumer is heard again."""
    limit: int = 0
    sent: int = 0
    received: int = 0
    leases: dict[int, Lease] = field(default_factory=dict)
    unreceived: deque[int] = field(default_factory=deque)
    suspect: int | None = None
    why: str = ""
    """Why the consumer asks for no work, in its own words."""

    @property
    def open(self) -> int:
        """How many more objects may be sent."""
        return 0 if self.is_cut else max(0, min(self.limit - self.sent, MOST_LEASES - len(self.leases)))
