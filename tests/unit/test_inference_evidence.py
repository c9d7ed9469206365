"""Who is at fault, as a table of events: no network, no clock."""

from __future__ import annotations

import random

import pytest

from sluice.errors import BatchRefused, Exhausted, InferenceError, TimedOut
from sluice.inference.client import Endpoint
from sluice.inference.evidence import BatchDecision, BatchEvidence, SentBatch
from sluice.inference.route import Route
from tests.support.consumer_fakes import model


def route(number: int) -> Route:
    made = Route(Endpoint(f"http://{number}:8080", "torchserve"), model(), 3)
    made.answered(0.0)
    return made


def fail(evidence: BatchEvidence, where: Route, error: InferenceError | None = None, *, proofs: int = 2) -> None:
    """Record that the batch fails there, and that so many other pictures succeed after it."""
    evidence.add(SentBatch(where, 0.0), error or BatchRefused(f"{where.endpoint.url} answers 503: Prediction failed"))
    for _ in range(proofs):
        where.answered(0.0)


def is_guilty(evidence: BatchEvidence, *routes: Route) -> bool:
    evidence.look(routes)
    return evidence.decision(routes) is BatchDecision.GUILTY


def test_twice_on_the_only_address() -> None:
    evidence, only = BatchEvidence(1), route(1)
    fail(evidence, only)
    assert not is_guilty(evidence, only)
    fail(evidence, only)
    assert is_guilty(evidence, only)
    assert evidence.said == "answers 503: Prediction failed"


def test_three_times_on_two_addresses() -> None:
    evidence, first, second = BatchEvidence(1), route(1), route(2)
    for _ in range(4):
        fail(evidence, first)
    assert not is_guilty(evidence, first, second), "the second address wasn't asked"
    fail(evidence, second)
    assert is_guilty(evidence, first, second)


def test_an_address_that_is_down_is_not_waited_for_but_counts() -> None:
    evidence, first, second = BatchEvidence(1), route(1), route(2)
    second.failed(0.0, "refused", is_outage=True)
    fail(evidence, first)
    fail(evidence, first)
    assert not is_guilty(evidence, first, second)
    fail(evidence, first)
    assert is_guilty(evidence, first, second)


def test_nothing_counts_while_nothing_else_comes_back() -> None:
    evidence, only = BatchEvidence(1), route(1)
    for _ in range(10):
        fail(evidence, only, proofs=0)
    assert not evidence.look([only])
    assert evidence.decision([only]) is BatchDecision.ASK
    only.answered(0.0)
    assert not evidence.look([only]), "one picture may be luck"
    only.answered(0.0)
    assert evidence.look([only])


@pytest.mark.parametrize("how", ["outage", "probe", "gone"])
def test_an_outage_takes_the_blame_for_all_that_failed_before_it(how: str) -> None:
    evidence, only = BatchEvidence(1), route(1)
    fail(evidence, only)
    fail(evidence, only, proofs=0)
    if how == "outage":
        only.failed(0.0, "refused", is_outage=True)
    elif how == "probe":
        only.probe_failed(0.0, "answers 500: no", wanted=True, is_outage=True)
    else:
        only = route(1)
    for _ in range(9):
        only.answered(0.0)
    assert evidence.look([only])
    assert evidence.decision([only]) is BatchDecision.ASK
    fail(evidence, only)
    assert not is_guilty(evidence, only)
    fail(evidence, only)
    assert is_guilty(evidence, only)


def test_an_outage_that_began_under_the_request_takes_the_blame() -> None:
    evidence, only = BatchEvidence(1), route(1)
    for _ in range(5):
        sent = SentBatch(only, 0.0)
        only.failed(0.0, "connection reset", is_outage=True)
        evidence.add(sent, BatchRefused("answers 500: Worker died."))
        only.answered(0.0)
        only.answered(0.0)
    assert not is_guilty(evidence, only)


@pytest.mark.parametrize("error", [TimedOut("gives no answer in 60 s"), Exhausted("answers 507: Out of resources")])
def test_no_answer_and_no_memory_halve_and_never_condemn(error: InferenceError) -> None:
    evidence, only = BatchEvidence(1), route(1)
    for _ in range(9):
        fail(evidence, only, error)
    assert not is_guilty(evidence, only)
    batch = BatchEvidence(2)
    fail(batch, only, error, proofs=1)
    assert batch.decision([only]) is BatchDecision.HALVE


def test_what_got_no_answer_gets_more_time_and_so_do_its_parts() -> None:
    evidence = BatchEvidence(8)
    assert evidence.seconds(60.0) == 60.0
    fail(evidence, route(1), TimedOut("gives no answer in 60 s"))
    assert evidence.seconds(60.0) == evidence.of_part(4).of_part(2).seconds(60.0) == 180.0


def test_what_the_model_says_is_kept_over_what_it_does_not_say() -> None:
    evidence, only = BatchEvidence(1), route(1)
    fail(evidence, only, TimedOut("gives no answer in 60 s"))
    fail(evidence, only, BatchRefused("answers 500: ValueError: no red"))
    fail(evidence, only, TimedOut("gives no answer in 180 s"))
    assert evidence.said == "answers 500: ValueError: no red"


@pytest.mark.parametrize("seed", range(50))
def test_no_order_of_kills_condemns_what_fails_only_while_its_address_goes_down(seed: int) -> None:
    """In a storm, after each failure the address is seen to be gone; then it comes back, or doesn't."""
    dice = random.Random(seed)
    routes = [route(number) for number in range(dice.randint(1, 3))]
    evidence = BatchEvidence(1)
    for _ in range(200):
        where = dice.choice(routes)
        fail(evidence, where, proofs=0)
        match dice.randrange(3):
            case 0:
                where.failed(0.0, "refused", is_outage=True)
            case 1:
                where.probe_failed(0.0, "answers 404: Model not found", wanted=True, is_outage=True)
            case _:
                routes[routes.index(where)] = where = route(9)
        for _ in range(dice.randrange(4)):
            where.answered(0.0)
        assert not is_guilty(evidence, *routes)
