"""What the table of leases holds: objects on their way, and the sessions that hold them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

# However much credit a consumer claims: a message's ids, and what a death sends back, stay bounded.
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
        """A consumer died with it: it is suspected, and travels with no other suspect."""
        return self.deaths > 0


@dataclass(frozen=True, slots=True)
class ReadyObject:
    """An object that can be sent now: with its bytes, or as a reference where `data` is None."""

    object: StreamedObject
    data: bytes | None
    since: float

    @property
    def size(self) -> int:
        """Its bytes in this process's memory."""
        return 0 if self.data is None else len(self.data)


@dataclass(frozen=True, slots=True)
class Lease:
    """An object handed to a session."""

    object: StreamedObject
    since: float


@dataclass(frozen=True, slots=True)
class WorkGrant:
    """One WORK message to be sent."""

    identity: bytes
    items: list[ReadyObject]


@dataclass(frozen=True, slots=True)
class ConsumerDeath:
    """A consumer that died, and what it held: what the death counts for, and what it doesn't."""

    consumer: str
    objects: list[StreamedObject]
    spared: list[StreamedObject] = field(default_factory=list)


@dataclass(slots=True)
class ConsumerSession:
    """One consumer's connection, from its HELLO on."""

    identity: bytes
    consumer: str
    silent_at: float
    line: bytes = b""
    """What a consumer's sessions have in common, which are numbered; nothing, if it is older than that."""
    number: int = 0
    heard: int = 1
    told: int = 0
    """How many messages came in this session, with its HELLO, and how many were sent."""
    is_cut: bool = False
    """Its connection is gone, perhaps with messages: it gets no more, and ends when its consumer is heard again."""
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
