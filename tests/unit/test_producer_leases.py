"""The state machine of leases, tested by hand and with hypothesis."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    """Kill consumers with one object until it is quarantined, and count them."""
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
    """Their cause is unknown here, so the first death seen here is spared, and the next one counts."""
    leases = LeaseTable(HEARTBEAT)
    for now, counted in ((10.0, 0), (20.0, 1)):
        victim = connected(leases, "victim", now=now)
        leases.offer(thing(1, deaths=2), b"", now)
        assert leases.assign(now)
        loss = leases.lose(victim, now)
        assert loss is not None
        assert (len(loss.objects), len(loss.spared)) == (counted, 1 - counted)


def test_the_deaths_of_a_consumer_that_was_only_cut_off_condemn_nothing() -> None:
    """It comes back each time and says so; one that doesn't counts as dead."""
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
