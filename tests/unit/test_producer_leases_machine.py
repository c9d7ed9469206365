"""The table of leases under any order of events: nothing is lost, doubled or sent beyond its credit."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from producer.leased import StreamedObject
from producer.leases import LeaseTable

HEARTBEAT = 2.0


class LeasesMachine(RuleBasedStateMachine):
    """Any order of events keeps I4, loses nothing, leases nothing twice, and keeps suspects apart."""

    def __init__(self) -> None:
        super().__init__()
        self.leases = LeaseTable(HEARTBEAT)
        self.now = 0.0
        self.number = 0
        self.ready: dict[int, StreamedObject] = {}
        self.held: dict[bytes, dict[int, StreamedObject]] = {}
        self.limits: dict[bytes, int] = {}
        self.sent: dict[bytes, list[int]] = {}
        self.received: dict[bytes, int] = {}
        self.ready_bytes: dict[int, int] = {}
        self.lines: dict[bytes, bytes] = {}
        self.cut_off: set[bytes] = set()

    names = st.sampled_from([b"a", b"b", b"c"])

    def _came_back(self, objects: list[StreamedObject], *, died: bool) -> None:
        for found in objects:
            again = replace(found, deaths=found.deaths + 1) if died else found
            if again.deaths < 3:
                self._offer(again, 7)

    def _offer(self, found: StreamedObject, size: int) -> None:
        self.ready[found.id] = found
        self.ready_bytes[found.id] = size
        self.leases.offer(found, bytes(size) if size else None, self.now)

    def _ended(self, identity: bytes) -> dict[int, StreamedObject]:
        for table in (self.limits, self.sent, self.received, self.lines):
            table.pop(identity, None)
        self.cut_off.discard(identity)
        return self.held.pop(identity, {})

    @rule(name=names, consumer=st.sampled_from(["x", "y"]), line=st.sampled_from([b"", b"l", b"m"]))
    def hello(self, name: bytes, consumer: str, line: bytes) -> None:
        self.number += 1
        back = self.leases.hello(name, consumer, self.now, line, self.number)
        ended = {name, *(other for other, its in self.lines.items() if line and its == line)}
        assert {o.id for o in back} == {number for other in ended for number in self._ended(other)}
        self.lines[name] = line
        self.held[name], self.limits[name], self.sent[name], self.received[name] = {}, 0, [], 0
        self._came_back(back, died=False)

    @rule(name=names, more=st.integers(0, 50), fraction=st.floats(0, 1))
    def credit(self, name: bytes, more: int, fraction: float) -> None:
        if name not in self.held or name in self.cut_off:
            return
        sent = len(self.sent[name])
        received = self.received[name] + int(fraction * (sent - self.received[name]))
        self.limits[name] = max(self.limits[name], sent + more)
        self.received[name] = received
        self.leases.extend(name, sent + more, received)

    @rule(count=st.integers(1, 40), size=st.integers(0, 50), deaths=st.sampled_from([0, 0, 0, 1, 2]))
    def offer(self, count: int, size: int, deaths: int) -> None:
        for _ in range(count):
            self.number += 1
            self._offer(StreamedObject(self.number, 1, 1, "s3://b", b"k", "e", 10, deaths), size)

    @rule()
    def assign(self) -> None:
        for grant in self.leases.assign(self.now):
            for item in grant.items:
                found = self.ready.pop(item.object.id)
                assert all(found.id not in held for held in self.held.values())
                if found.alone:
                    assert len(grant.items) == 1
                assert grant.identity not in self.cut_off
                self.held[grant.identity][found.id] = found
                self.sent[grant.identity].append(self.ready_bytes[found.id])

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), how=st.sampled_from(["done", "take", "stranger"]))
    def let_go(self, data: st.DataObject, how: str) -> None:
        name = data.draw(st.sampled_from([n for n, held in self.held.items() if held]))
        ids = data.draw(st.lists(st.sampled_from(sorted(self.held[name])), unique=True))
        if how == "stranger":
            others = [n for n in self.held if n != name]
            if others:
                assert self.leases.done(others[0], ids) == []
        elif how == "done":
            assert {lease.object.id for lease in self.leases.done(name, [*ids, 10**9])} == set(ids)
            for number in ids:
                del self.held[name][number]
        else:
            back = self.leases.take(name, [*ids, *ids])
            assert {o.id for o in back} == set(ids)
            for number in ids:
                del self.held[name][number]
            self._came_back(back, died=False)

    @rule(name=names)
    def bye(self, name: bytes) -> None:
        back = self.leases.bye(name)
        assert {o.id for o in back} == set(self._ended(name))
        self._came_back(back, died=False)

    @rule(name=names)
    def cut(self, name: bytes) -> None:
        self.leases.cut(name)
        if name in self.held:
            self.cut_off.add(name)
            self.received[name] = len(self.sent[name])

    @rule(seconds=st.floats(0, 8), alive=st.sets(names))
    def pass_time(self, seconds: float, alive: set[bytes]) -> None:
        for name in alive:
            assert self.leases.heard(name, self.now) == (name in self.held and name not in self.cut_off)
        self.now += seconds
        before = {s.identity for s in self.leases.sessions}
        losses = self.leases.expire(self.now)
        gone = before - {s.identity for s in self.leases.sessions}
        assert len(losses) == len(gone)
        held = {number for name in gone for number in self._ended(name)}
        counted = [found for loss in losses for found in loss.objects]
        spared = [found for loss in losses for found in loss.spared]
        assert sorted(o.id for o in counted + spared) == sorted(held)
        self._came_back(counted, died=True)
        self._came_back(spared, died=False)

    @invariant()
    def sessions_agree(self) -> None:
        for session in self.leases.sessions:
            assert session.sent <= session.limit, "I4"
            assert session.limit == self.limits[session.identity]
            assert set(session.leases) == set(self.held[session.identity])
            assert sum(lease.object.alone for lease in session.leases.values()) <= 1
        assert {s.identity for s in self.leases.sessions} == set(self.held)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.leases.ready == len(self.ready)
        assert self.leases.in_flight == sum(len(held) for held in self.held.values())

    @invariant()
    def sums_agree_with_the_sessions(self) -> None:
        taking = [session for session in self.leases.sessions if session.open]
        credit = sum(session.open for session in taking)
        assert self.leases.credit == credit
        suspects = sum(found.alone for found in self.ready.values())
        total = max(0, credit - len(self.ready))
        free = sum(session.suspect is None for session in taking) - suspects
        assert self.leases.wanted() == (total, max(0, min(free, total)))

    @invariant()
    def bytes_are_those_ready_or_unreceived(self) -> None:
        unreceived = sum(sum(sizes[self.received[name] :]) for name, sizes in self.sent.items())
        assert self.leases.bytes == sum(self.ready_bytes[number] for number in self.ready) + unreceived


LeasesMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLeases = LeasesMachine.TestCase
