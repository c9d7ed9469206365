"""The state machine of leases, driven by hand and by hypothesis."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from producer.deaths import MOST_SPARED
from producer.leased import StreamedObject
from producer.leases import CALM_SECONDS, GROUP_BYTES, GROUP_OBJECTS, PATIENCE_SECONDS, LeaseTable
from sluice.errors import ProtocolError

HEARTBEAT = 2.0


def thing(number: int, deaths: int = 0, job: int = 1) -> StreamedObject:
    return StreamedObject(number, job, 1, "s3://b", b"k%d" % number, "e", 10, deaths)


def connected(leases: LeaseTable, name: str = "a", credit: int = 10, now: float = 0.0) -> bytes:
    identity = name.encode()
    leases.hello(identity, name, now)
    leases.extend(identity, credit, 0)
    return identity


def test_nothing_is_leased_without_credit() -> None:
    leases = LeaseTable(HEARTBEAT)
    leases.hello(b"a", "a", 0.0)
    leases.offer(thing(1), b"x", 0.0)
    assert leases.assign(0.0) == []
    leases.extend(b"a", 1, 0)
    leases.offer(thing(2), b"x", 0.0)
    assert [r.object.id for g in leases.assign(0.0) for r in g.items] == [1]


def test_a_repeated_or_older_credit_changes_nothing() -> None:
    leases = LeaseTable(HEARTBEAT)
    a = connected(leases, credit=5)
    leases.extend(a, 3, 0)
    leases.extend(a, 5, 0)
    assert leases.credit == 5


def test_who_asks_for_nothing_says_why() -> None:
    leases = LeaseTable(HEARTBEAT)
    assert leases.why_idle() == "no consumer is connected"
    a = connected(leases, "a", credit=0)
    assert leases.why_idle() == "1 consumer is connected and asks for no work: a: it has not asked yet"
    leases.extend(a, 0, 0, "no TorchServe is ready")
    assert leases.why_idle() == "1 consumer is connected and asks for no work: a: no TorchServe is ready"
    for name in "bc":
        connected(leases, name, credit=0)
        leases.extend(name.encode(), 0, 0, "no TorchServe is ready" if name == "b" else "the ledger is away")
    assert leases.why_idle() == (
        "3 consumers are connected, none asks for work: a and 1 more: no TorchServe is ready; c: the ledger is away"
    )
    leases.extend(a, 1, 0)
    assert leases.why_idle() == "", "one asks"
    leases.offer(thing(1), b"x", 0.0)
    leases.assign(0.0)
    assert leases.why_idle() == "", "it works, and is full"
    leases.extend(a, 1, 1, "no TorchServe is ready")
    assert leases.why_idle(), "it holds work, and can't go on"


def test_many_reasons_are_shortened() -> None:
    leases = LeaseTable(HEARTBEAT)
    for name in "abcde":
        connected(leases, name, credit=0)
        leases.extend(name.encode(), 0, 0, f"why {name}")
    assert leases.why_idle().endswith("a: why a; b: why b; c: why c; and 2 other reasons")


def test_credit_that_claims_more_than_was_sent_is_malformed() -> None:
    leases = LeaseTable(HEARTBEAT)
    a = connected(leases)
    with pytest.raises(ProtocolError, match="1 objects were received, 0 were sent"):
        leases.extend(a, 10, 1)


def test_bytes_count_until_they_are_received() -> None:
    leases = LeaseTable(HEARTBEAT)
    a = connected(leases)
    leases.offer(thing(1), b"12345", 0.0)
    leases.offer(thing(2), None, 0.0)
    assert leases.bytes == 5
    leases.assign(0.0)
    leases.done(a, [1, 2])
    assert leases.bytes == 5
    leases.extend(a, 10, 2)
    assert leases.bytes == 0


def test_ready_objects_are_shared_fairly() -> None:
    leases = LeaseTable(HEARTBEAT)
    for name in "abcd":
        connected(leases, name, credit=100)
    for number in range(1, 9):
        leases.offer(thing(number), b"", 0.0)
    assert sorted(len(grant.items) for grant in leases.assign(0.0)) == [2, 2, 2, 2]


def test_messages_are_bounded_in_objects_and_bytes() -> None:
    leases = LeaseTable(HEARTBEAT)
    connected(leases, credit=1000)
    for number in range(1, 101):
        leases.offer(thing(number), b"", 0.0)
    large = b"x" * (GROUP_BYTES - 1)
    for number in range(101, 104):
        leases.offer(thing(number), large, 0.0)
    grants = leases.assign(0.0)
    assert sum(len(grant.items) for grant in grants) == 103
    assert max(len(grant.items) for grant in grants) == GROUP_OBJECTS
    assert all(len(grant.items) == 1 or sum(r.size for r in grant.items) <= GROUP_BYTES for grant in grants)


def test_a_consumer_silent_for_three_heartbeats_loses_its_leases() -> None:
    leases = LeaseTable(HEARTBEAT)
    a = connected(leases)
    leases.offer(thing(1), b"", 0.0)
    leases.assign(0.0)
    assert leases.heard(a, 1.0)
    assert leases.expire(6.9) == []
    (loss,) = leases.expire(7.0)
    assert [o.id for o in loss.objects] == [1]
    assert not leases.heard(a, 7.1)


def test_bye_is_no_death() -> None:
    leases = LeaseTable(HEARTBEAT)
    a = connected(leases)
    leases.offer(thing(1), b"", 0.0)
    leases.assign(0.0)
    assert [o.id for o in leases.bye(a)] == [1]
    assert leases.expire(100.0) == []


def test_a_restarted_consumer_ends_its_dead_session_after_a_heartbeat_and_a_living_namesake_keeps_its_own() -> None:
    leases = LeaseTable(HEARTBEAT)
    leases.hello(b"old", "same", 0.0)
    leases.hello(b"living", "same", 0.0)
    leases.hello(b"new", "same", 1.0)
    leases.heard(b"living", 2.0)
    assert [loss.consumer for loss in leases.expire(4.1)] == ["same"]
    assert {s.identity for s in leases.sessions} == {b"living", b"new"}


def test_a_consumer_gets_one_suspect_at_a_time() -> None:
    leases = LeaseTable(HEARTBEAT)
    a = connected(leases)
    for number in (1, 2):
        leases.offer(thing(number, deaths=1), b"", 0.0)
    assert leases.wanted() == (8, 0)
    (grant,) = leases.assign(0.0)
    assert [r.object.id for r in grant.items] == [1]
    leases.done(a, [1])
    (grant,) = leases.assign(0.0)
    assert [r.object.id for r in grant.items] == [2]


def test_what_two_consumers_died_with_waits_for_calm_but_not_for_ever() -> None:
    leases = LeaseTable(HEARTBEAT)
    for name in "ab":
        connected(leases, name)
    leases.lose(b"b", 10.0)
    leases.offer(thing(1, deaths=2), b"", 10.0)
    assert leases.assign(14.9) == []
    connected(leases, "c", now=14.0)
    leases.lose(b"c", 14.95)
    assert leases.assign(15.1) == []
    for second in range(15, 10 + int(PATIENCE_SECONDS), 4):
        connected(leases, "d", now=float(second))
        leases.lose(b"d", float(second))
        assert leases.assign(second + 0.1) == []
    assert len(leases.assign(10.0 + PATIENCE_SECONDS)) == 1


def deaths_until_the_third_counts(leases: LeaseTable, *, others_die: bool) -> int:
    """Kill consumers with one object until it is given up, and count them."""
    deaths, now = 0, 0.0
    for number in range(1, 20):
        now += CALM_SECONDS + 1
        if others_die:
            leases.lose(connected(leases, "other", now=now), now)
            now += CALM_SECONDS + 1
        victim = connected(leases, "victim", now=now)
        leases.offer(thing(1, deaths), b"", now)
        assert leases.assign(now)
        loss = leases.lose(victim, now)
        assert loss is not None
        deaths += len(loss.objects)
        if deaths == 3:
            return number
    raise AssertionError("it kills for ever")


def test_the_third_death_of_what_kills_alone_counts_at_once() -> None:
    assert deaths_until_the_third_counts(LeaseTable(HEARTBEAT), others_die=False) == 3


def test_in_a_storm_the_third_death_is_spared_a_few_times() -> None:
    assert deaths_until_the_third_counts(LeaseTable(HEARTBEAT), others_die=True) == 3 + MOST_SPARED


def test_two_deaths_that_another_producer_counted_do_not_condemn() -> None:
    """What killed those is unknown here, so the first death seen here is spared, and the next one counts."""
    leases = LeaseTable(HEARTBEAT)
    for now, counted in ((10.0, 0), (20.0, 1)):
        victim = connected(leases, "victim", now=now)
        leases.offer(thing(1, deaths=2), b"", now)
        assert leases.assign(now)
        loss = leases.lose(victim, now)
        assert loss is not None
        assert (len(loss.objects), len(loss.spared)) == (counted, 1 - counted)


def test_the_deaths_of_a_consumer_that_was_only_cut_off_condemn_nothing() -> None:
    """It comes back each time and says so; another that doesn't is believed to be dead."""
    leases = LeaseTable(HEARTBEAT)
    deaths, now = 0, 0.0
    for number in range(1, 10):
        now += CALM_SECONDS + 1
        name = b"session %d" % number
        leases.hello(name, "c", now, b"line", number)
        leases.extend(name, 1, 0)
        leases.offer(thing(1, deaths), b"", now)
        assert leases.assign(now)
        loss = leases.lose(name, now)
        assert loss is not None
        deaths += len(loss.objects)
    assert deaths == 2


def test_a_line_has_one_session_and_nobody_died_when_it_begins_another() -> None:
    leases = LeaseTable(HEARTBEAT)
    leases.hello(b"1", "a", 0.0, b"line", 1)
    leases.extend(b"1", 10, 0)
    leases.offer(thing(1), b"", 0.0)
    leases.assign(0.0)
    leases.hello(b"of another", "a", 0.0, b"other", 1)
    assert [o.id for o in leases.hello(b"2", "a", 1.0, b"line", 2)] == [1]
    assert {s.identity for s in leases.sessions} == {b"2", b"of another"}
    with pytest.raises(ProtocolError, match="came late"):
        leases.hello(b"1", "a", 1.0, b"line", 1)
    assert {s.identity for s in leases.sessions} == {b"2", b"of another"}


def test_a_session_that_was_cut_off_gets_nothing_and_ends_when_its_consumer_is_heard() -> None:
    leases = LeaseTable(HEARTBEAT)
    a = connected(leases)
    for number in (1, 2):
        leases.offer(thing(number), b"abc", 0.0)
        leases.assign(0.0)
        leases.cut(a)
    assert (leases.ready, leases.credit, leases.bytes) == (1, 0, 3)
    assert not leases.heard(a, 1.0)
    assert leases.why_idle() == "no consumer is connected"
    assert [o.id for o in leases.bye(a)] == [1]


@given(st.lists(st.lists(st.booleans(), max_size=6), max_size=6))
def test_a_ping_tells_whether_a_message_before_it_was_lost(rounds: list[list[bool]]) -> None:
    leases = LeaseTable(HEARTBEAT)
    leases.hello(b"a", "a", 0.0)
    said = 1
    for messages in rounds:
        for arrives in messages:
            said += 1
            if arrives:
                leases.heard(b"a", 0.0)
        leases.heard(b"a", 0.0)
        assert leases.has_lost(b"a", said) == (not all(messages))
        assert not leases.has_lost(b"a", None), "an older consumer doesn't count"
        if not all(messages):
            return
        said += 1


def test_withdraw_drops_what_is_ready_of_one_job() -> None:
    leases = LeaseTable(HEARTBEAT)
    leases.offer(thing(1, job=1), b"abc", 0.0)
    leases.offer(thing(2, job=2), b"de", 0.0)
    leases.offer(thing(3, deaths=1, job=1), b"abc", 0.0)
    assert [o.id for o in leases.withdraw(1)] == [1, 3]
    assert leases.bytes == 2
    assert leases.ready == 1


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
            self._offer(thing(self.number, deaths), size)

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
    def bytes_are_those_ready_or_unreceived(self) -> None:
        unreceived = sum(sum(sizes[self.received[name] :]) for name, sizes in self.sent.items())
        assert self.leases.bytes == sum(self.ready_bytes[number] for number in self.ready) + unreceived


LeasesMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLeases = LeasesMachine.TestCase
