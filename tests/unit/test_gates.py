"""The gates of trials: simulated trials that are looked at all the time, and what conditions mean."""

from __future__ import annotations

import random
from collections import Counter
from hashlib import sha256

import pytest

from sluice.domain.gates import (
    GateDecision,
    TrialEvidence,
    TrialGates,
    is_above,
    is_below,
    is_chosen,
    judge,
    read_gates,
    why_impossible,
)
from sluice.errors import ConfigurationError

TRIALS = 200
LOOK = 100
"""A look after each so many reports."""


def simulate(luck: random.Random, worse: float, gates: TrialGates, reports: int = 4000) -> GateDecision:
    """Run a trial: the live version is right in 90 of 100, the two differ in 10 of 100 and more."""
    shares = {(True, True): 0.85 - worse, (True, False): 0.05, (False, True): 0.05 + worse, (False, False): 0.05}
    seen = Counter[tuple[bool, bool]]()
    for _ in range(reports // LOOK):
        seen.update(luck.choices(list(shares), list(shares.values()), k=LOOK))
        both, candidate, live, none = (seen[each] for each in shares)
        decision = judge(gates, TrialEvidence(seen.total(), 0, 0, both, candidate, live, none)).decision
        if decision is not GateDecision.WAIT:
            return decision
    return GateDecision.WAIT


@pytest.mark.parametrize("margin", [0.01, 0.03])
def test_looking_again_and_again_fools_no_gate(margin: float) -> None:
    """A candidate 5 points worse is promoted in none of the trials; an equal one is stopped in 5 % of them at most."""
    luck = random.Random(1)
    gates = TrialGates(promote_n=500, margin=margin)
    worse = Counter(simulate(luck, 0.05, gates) for _ in range(TRIALS))
    equal = Counter(simulate(luck, 0.0, gates) for _ in range(TRIALS))
    assert worse[GateDecision.PROMOTE] == 0
    assert equal[GateDecision.STOP] <= TRIALS * 0.05
    if margin == 0.01:
        assert worse[GateDecision.STOP] > TRIALS * 0.9, "nor does it wait forever"
    else:
        assert equal[GateDecision.PROMOTE] > TRIALS * 0.8


def test_shares_are_judged_by_chance_s_measure() -> None:
    """Of many trials whose candidate fails just as often as is allowed, few are stopped, however often one looks."""
    luck = random.Random(2)
    stopped = 0
    for _ in range(TRIALS):
        failed = 0
        for number in range(1, 1001):
            failed += luck.random() < 0.05
            if number % 20 == 0 and is_above(failed, number, 0.05, 0.05):
                stopped += 1
                break
    assert stopped <= TRIALS * 0.05
    assert is_above(3, 3, 0.05, 0.05)
    assert not is_above(1, 1, 0.05, 0.025)
    assert is_below(0, 200, 0.05, 0.05)
    assert not is_below(0, 20, 0.05, 0.05)


def test_canaries_are_judged_by_two_groups() -> None:
    gates = TrialGates(promote_n=10, margin=0.05)

    def say(right: int, of: int, live: int, of_live: int) -> GateDecision:
        seen = TrialEvidence(1000, candidate_right=right, candidate_reports=of, live_right=live, live_reports=of_live)
        return judge(gates, seen).decision

    assert say(5, 10, 9, 10) is GateDecision.WAIT
    assert say(500, 1000, 900, 1000) is GateDecision.STOP
    assert say(950, 1000, 900, 1000) is GateDecision.PROMOTE
    assert say(10, 10, 0, 0) is GateDecision.WAIT


def test_nothing_is_promoted_before_its_number_nor_while_it_fails() -> None:
    gates = TrialGates(promote_n=1000, promote_by="agreement")
    assert judge(gates, TrialEvidence(answered=999, agreed=999)).decision is GateDecision.WAIT
    assert judge(gates, TrialEvidence(answered=1000, agreed=1000)).decision is GateDecision.PROMOTE
    failing = judge(gates, TrialEvidence(answered=1000, agreed=1000, failed=60))
    assert (failing.decision, "while so many fail" in failing.why) == (GateDecision.WAIT, True)
    assert judge(gates, TrialEvidence(answered=1000, agreed=980)).decision is GateDecision.WAIT
    assert judge(TrialGates(), TrialEvidence(answered=10**6, agreed=10**6)).decision is GateDecision.WAIT


def test_one_lost_batch_ends_no_trial() -> None:
    assert judge(TrialGates(), TrialEvidence(answered=0, failed=32)).decision is GateDecision.WAIT
    assert judge(TrialGates(), TrialEvidence(answered=0, failed=50)).decision is GateDecision.STOP
    assert judge(TrialGates(), TrialEvidence(answered=300, failed=32)).decision is GateDecision.WAIT


def test_a_share_is_that_of_the_contents() -> None:
    contents = [sha256(str(number).encode()).digest() for number in range(10_000)]
    assert 900 < sum(is_chosen(each, 0.1) for each in contents) < 1100
    assert all(is_chosen(each, 1.0) for each in [*contents, b"\xff" * 32])
    assert not any(is_chosen(each, 0.0) for each in [*contents, b"\0" * 32])


@pytest.mark.parametrize(
    ("promote", "stop", "gates"),
    [
        (None, None, TrialGates()),
        ("n >= 2000 and accuracy >= -1", None, TrialGates(2000, "accuracy", 0.01)),
        ("n>=2,000 and accuracy>=0 points", "failures > 2.5%", TrialGates(2000, "accuracy", 0.0, 0.95, 0.025)),
        ("n >= 500 and agreement >= 98 %", "failures>10 %", TrialGates(500, "agreement", 0.02, 0.95, 0.1)),
    ],
)
def test_conditions_are_read(promote: str | None, stop: str | None, gates: TrialGates) -> None:
    found = read_gates(promote, stop)
    assert [found.margin, found.stop_failures] == pytest.approx([gates.margin, gates.stop_failures])
    assert (found.promote_n, found.promote_by) == (gates.promote_n, gates.promote_by)
    assert why_impossible(found, 0.1, shadow=True) == ""


def test_more_answers_than_the_table_can_count_to_are_refused() -> None:
    found = read_gates(f"n >= {10**20} and accuracy >= -1", None)
    assert why_impossible(found, 0.1, shadow=True) == "n is 100000000000000000000: give 1,000,000,000,000 at most"


@pytest.mark.parametrize(
    ("promote", "stop"), [("soon", None), ("n >= 10", None), ("accuracy >= 1", None), (None, "5 %"), (None, "failures")]
)
def test_other_conditions_are_refused_with_an_example(promote: str | None, stop: str | None) -> None:
    with pytest.raises(ConfigurationError, match="write it as"):
        read_gates(promote, stop)
