"""The lease table: sessions, credits, leases, deaths.

Pure and synchronous: no sockets, no clock, no ledger. Time is an argument and actions are results, so that every order
of events can be tested. An object offered here is ready, then leased to one session, then returned to the caller: by
`done`, by `take` (failed or returned), or because its session ended (`bye`, `hello`, `lose`, `expire`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from typing import Final

from producer.deaths import CAREFUL_FROM, DeathCounter
from producer.leased import ConsumerDeath, ConsumerSession, Lease, ReadyObject, StreamedObject, WorkGrant
from producer.takers import TakingSessions
from sluice.errors import ProtocolError
from sluice.protocol.sockets import HEARTBEATS_MISSED

GROUP_OBJECTS: Final = 32
GROUP_BYTES: Final = 2 * 1024 * 1024
# How long an object that two consumers died with waits for a calm moment: see producer/deaths.py.
CALM_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 30.0
MOST_WHYS: Final = 3


class LeaseTable:
    """The sessions and the objects that each of them holds."""

    def __init__(self, heartbeat: float) -> None:
        self._silence = heartbeat * HEARTBEATS_MISSED
        self._heartbeat = heartbeat
        self._sessions: dict[bytes, ConsumerSession] = {}
        self._taking = TakingSessions()
        self._ready: deque[ReadyObject] = deque()
        self._suspects: deque[ReadyObject] = deque()
        self._deaths = DeathCounter()
        self.bytes = 0
        """Bytes that are ready, or sent and not yet received: what this process and its sockets hold in memory."""

    @property
    def sessions(self) -> Collection[ConsumerSession]:
        """All sessions; read only."""
        return self._sessions.values()

    @property
    def in_flight(self) -> int:
        """Number of objects leased and not finished."""
        return sum(len(session.leases) for session in self._sessions.values())

    @property
    def credit(self) -> int:
        """Number of objects that consumers would take now."""
        return self._taking.credit

    @property
    def ready(self) -> int:
        """Number of objects that wait to be leased."""
        return len(self._ready) + len(self._suspects)

    def why_idle(self) -> str:
        """Return why nobody asks for work; empty while somebody does, or is only busy."""
        connected = [session for session in self._sessions.values() if not session.is_cut]
        if not connected:
            return "no consumer is connected"
        whys: dict[str, list[str]] = {}
        for session in connected:
            if session.open or (session.leases and not session.why):
                return ""
            whys.setdefault(session.why or "it has not asked yet", []).append(session.consumer)
        count = len(connected)
        head = (
            "1 consumer is connected and asks for no work"
            if count == 1
            else f"{count} consumers are connected, none asks for work"
        )
        said = [
            f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {why}" for why, names in whys.items()
        ]
        more = f"; and {len(said) - MOST_WHYS} other reasons" if len(said) > MOST_WHYS else ""
        return f"{head}: {'; '.join(said[:MOST_WHYS])}{more}"

    def wanted(self) -> tuple[int, int]:
        """Return how many more objects should be fetched: in total, and how many of them suspects."""
        alone = self._taking.free - len(self._suspects)
        total = self.credit - self.ready
        return max(0, total), max(0, min(alone, total))

    def offer(self, found: StreamedObject, data: bytes | None, now: float) -> None:
        """Add an object that can be sent."""
        ready = ReadyObject(found, data, now)
        self.bytes += ready.size
        (self._suspects if found.alone else self._ready).append(ready)

    def withdraw(self, job: int) -> list[StreamedObject]:
        """Remove and return the ready objects of a job that doesn't run any more; leases stay."""
        withdrawn: list[StreamedObject] = []
        for name in ("_ready", "_suspects"):
            kept: deque[ReadyObject] = deque()
            for ready in getattr(self, name):
                if ready.object.job == job:
                    self.bytes -= ready.size
                    withdrawn.append(ready.object)
                else:
                    kept.append(ready)
            setattr(self, name, kept)
        return withdrawn

    def hello(
        self, identity: bytes, consumer: str, now: float, line: bytes = b"", number: int = 0
    ) -> list[StreamedObject]:
        """Begin a session. Return the objects of earlier sessions of this identity and line; no death is counted.

        Another session with the same name has probably died and come back, so it has a short time to show that it is
        alive: two processes may have the same name by mistake, and neither must starve.
        """
        before = [session for session in self._sessions.values() if line and session.line == line]
        if any(session.number > number for session in before):
            raise ProtocolError(f"session {number} of this line was followed by another: its HELLO came late")
        back = [found for name in (identity, *(session.identity for session in before)) for found in self.bye(name)]
        self._deaths.forgive(line)
        for other in self._sessions.values():
            if other.consumer == consumer:
                other.silent_at = min(other.silent_at, now + self._heartbeat * 1.5)
        self._sessions[identity] = ConsumerSession(identity, consumer, now + self._silence, line, number)
        return back

    def knows(self, identity: bytes) -> bool:
        """Return whether there is such a session."""
        return identity in self._sessions

    def heard(self, identity: bytes, now: float) -> bool:
        """Count a message; return False if there is no such session, or it was cut off: then it must end."""
        if (session := self._sessions.get(identity)) is None or session.is_cut:
            return False
        session.heard += 1
        session.silent_at = now + self._silence
        return True

    def excuse(self, seconds: float) -> None:
        """Expect every consumer's next message so much later, because nobody listened for so long."""
        for session in self._sessions.values():
            session.silent_at += max(0.0, seconds)

    def told(self, identity: bytes) -> int:
        """Return how many messages were sent in a session."""
        return self._sessions[identity].told

    def tell(self, identity: bytes) -> None:
        """Count a sent message."""
        if identity in self._sessions:
            self._sessions[identity].told += 1

    def has_lost(self, identity: bytes, said: int | None) -> bool:
        """Return whether some of the `said` messages before this one didn't arrive. Older consumers don't count."""
        return said is not None and said != self._sessions[identity].heard - 1

    def cut(self, identity: bytes) -> None:
        """Record that a session's connection is gone: the consumer may be dead, or come back in a moment."""
        if (session := self._sessions.get(identity)) is not None:
            session.is_cut = True
            self._taking.remove(session)
            self.bytes -= sum(session.unreceived)
            session.unreceived.clear()

    def extend(self, identity: bytes, limit: int, received: int, why: str = "") -> None:
        """Apply a CREDIT. Both numbers count from HELLO and never decrease; `why` says why they don't rise."""
        session = self._sessions[identity]
        if received > session.sent:
            raise ProtocolError(f"CREDIT says {received} objects were received, {session.sent} were sent")
        session.limit = max(session.limit, limit)
        session.why = why
        while session.received < received:
            session.received += 1
            self.bytes -= session.unreceived.popleft()
        self._taking.update(session)

    def assign(self, now: float) -> list[WorkGrant]:
        """Lease ready objects to sessions with credit: suspects first, one per consumer, then fair shares."""
        grants = self._assign_suspects(now)
        while self._ready and self._taking:
            share = min(GROUP_OBJECTS, -(-len(self._ready) // len(self._taking)))
            for _ in range(min(len(self._taking), len(self._ready))):
                if not self._ready:
                    break
                session = self._taking.first()
                grants.append(WorkGrant(session.identity, self._group(session, share, now)))
                self._taking.served(session)
        return grants

    def done(self, identity: bytes, ids: Iterable[int]) -> list[Lease]:
        """End the leases of committed objects. Ids that the session doesn't hold (late, repeated) have no effect."""
        ended = self._end(identity, ids)
        self._deaths.forget(lease.object.id for lease in ended)
        return ended

    def take(self, identity: bytes, ids: Iterable[int]) -> list[StreamedObject]:
        """Return objects that a session failed on or gives back; other ids have no effect."""
        return [lease.object for lease in self._end(identity, ids)]

    def bye(self, identity: bytes) -> list[StreamedObject]:
        """End a session without a death. Return its objects."""
        session = self._sessions.pop(identity, None)
        if session is None:
            return []
        self._taking.remove(session)
        self.bytes -= sum(session.unreceived)
        return [lease.object for lease in session.leases.values()]

    def lose(self, identity: bytes, now: float) -> ConsumerDeath | None:
        """End a session whose consumer died."""
        session = self._sessions.get(identity)
        if session is None:
            return None
        held = self.bye(identity)
        ids = self._deaths.note(session.line, {found.id: found.deaths for found in held}, now)
        spared = [found for found in held if found.id in ids]
        return ConsumerDeath(session.consumer, [found for found in held if found.id not in ids], spared)

    def expire(self, now: float) -> list[ConsumerDeath]:
        """End sessions that were silent for three heartbeats."""
        silent = [session.identity for session in self._sessions.values() if now >= session.silent_at]
        return [loss for loss in (self.lose(identity, now) for identity in silent) if loss is not None]

    def _assign_suspects(self, now: float) -> list[WorkGrant]:
        grants: list[WorkGrant] = []
        if not self._suspects:
            return grants
        calm = now - self._deaths.last >= CALM_SECONDS
        takers = [session for session in self._taking.all if session.suspect is None]
        kept: deque[ReadyObject] = deque()
        for ready in self._suspects:
            careful = ready.object.deaths >= CAREFUL_FROM and not calm and now - ready.since < PATIENCE_SECONDS
            if careful or not takers:
                kept.append(ready)
                continue
            session = takers.pop()
            session.suspect = ready.object.id
            self._lease(session, ready, now)
            self._taking.update(session)
            grants.append(WorkGrant(session.identity, [ready]))
        self._suspects = kept
        return grants

    def _group(self, session: ConsumerSession, share: int, now: float) -> list[ReadyObject]:
        """Lease objects for one message to a session."""
        items: list[ReadyObject] = []
        size = 0
        most = min(share, session.open)
        while self._ready and len(items) < most:
            if items and size + self._ready[0].size > GROUP_BYTES:
                break
            ready = self._ready.popleft()
            size += ready.size
            self._lease(session, ready, now)
            items.append(ready)
        return items

    def _lease(self, session: ConsumerSession, ready: ReadyObject, now: float) -> None:
        session.sent += 1
        session.unreceived.append(ready.size)
        session.leases[ready.object.id] = Lease(ready.object, now)

    def _end(self, identity: bytes, ids: Iterable[int]) -> list[Lease]:
        session = self._sessions[identity]
        ended = [lease for lease in (self._release(session, i) for i in ids) if lease is not None]
        self._taking.update(session)
        return ended

    def _release(self, session: ConsumerSession, object_id: int) -> Lease | None:
        if session.suspect == object_id:
            session.suspect = None
        return session.leases.pop(object_id, None)
