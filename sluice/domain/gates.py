"""When a trial ends by itself: what is asked of a candidate, and whether what was seen is enough to say so.

A trial is looked at again and again while it grows. A test made for one look would say "surely" of a candidate that is
as good as the live one in most trials, if only it looks often enough. So each sentence here is judged by a likelihood
ratio that may be looked at as often as one likes: the numerator is a mixture over everything that could be true (of
Jeffreys' priors), the denominator the best case of all that the sentence denies. If the sentence is wrong, that ratio
is on average at most 1 however long the trial lasts, so it ever reaches 1 / risk with at most that risk (Ville). It
needs counts only, in no order, and no estimate of a variance.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from sluice.errors import ConfigurationError

HASHED: Final = 4
"""Bytes of a content's SHA-256 that decide whether it is in a trial: the last, since trainers split by the first."""
PROMOTE: Final = re.compile(
    r"n\s*>=\s*(?P<n>\d[\d,_]*)\s+and\s+(?P<by>accuracy|agreement)\s*>=\s*(?P<value>[-+]?\d+(\.\d+)?)\s*(points?|%)?"
)
STOP: Final = re.compile(r"failures\s*>\s*(?P<value>\d+(\.\d+)?)\s*%")
FAILURES_OF: Final = 50
"""Failures are judged of so many objects at least: one lost batch fails as a whole, and says nothing of a share."""
MARGIN_MAX: Final = 0.5
ANSWERS_MAX: Final = 10**12
STEPS: Final = 50
EXAMPLE_PROMOTE: Final = "n >= 2000 and accuracy >= -1"
EXAMPLE_STOP: Final = "failures > 5 %"


class GateDecision(Enum):
    """What a trial's gates say of it."""

    WAIT = "wait"
    PROMOTE = "promote"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class TrialGates:
    """What a candidate has to show, as columns of `trials` have it."""

    promote_n: int | None = None
    """So many answers at least; None: only people promote it."""
    promote_by: str = "accuracy"
    margin: float = 0.01
    """By so much the candidate may be worse: of accuracy, or as disagreement."""
    confidence: float = 0.95
    stop_failures: float = 0.05


@dataclass(frozen=True, slots=True)
class TrialEvidence:
    """What was counted in a trial."""

    answered: int = 0
    failed: int = 0
    agreed: int = 0
    both_right: int = 0
    """Reports on objects that both versions answered: how many of either were right."""
    only_candidate: int = 0
    only_live: int = 0
    both_wrong: int = 0
    candidate_right: int = 0
    """Reports on objects that only one of them answered, in a canary."""
    candidate_reports: int = 0
    live_right: int = 0
    live_reports: int = 0


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """What the gates say, and in a sentence why."""

    decision: GateDecision
    why: str


def is_chosen(sha256: bytes, share: float) -> bool:
    """Return whether a content is in the share of a trial: the same bytes always are, or never."""
    return int.from_bytes(sha256[-HASHED:], "big") < share * (1 << 8 * HASHED)


def read_gates(promote_when: str | None, stop_when: str | None, confidence: float = 0.95) -> TrialGates:
    """Return the gates that a person wrote as conditions."""
    gates = TrialGates(confidence=confidence)
    if promote_when is not None:
        found = PROMOTE.fullmatch(promote_when.strip())
        if found is None:
            raise ConfigurationError(
                f"{promote_when!r:.200} is no condition for a promotion: write it as {EXAMPLE_PROMOTE!r} "
                "(points of accuracy by which it may be worse) or 'n >= 2000 and agreement >= 99 %'"
            )
        value, by = float(found["value"]) / 100, found["by"]
        n = int(re.sub(r"[,_]", "", found["n"]))
        gates = replace(gates, promote_n=n, promote_by=by, margin=-value if by == "accuracy" else 1 - value)
    if stop_when is not None:
        found = STOP.fullmatch(stop_when.strip())
        if found is None:
            raise ConfigurationError(f"{stop_when!r:.200} is no condition for an end: write it as {EXAMPLE_STOP!r}")
        gates = replace(gates, stop_failures=float(found["value"]) / 100)
    return gates


def why_impossible(gates: TrialGates, share: float, *, shadow: bool) -> str:
    """Return what is wrong with a trial's numbers, which plain SQL may have set; empty if nothing is."""
    by_agreement = gates.promote_n is not None and gates.promote_by == "agreement"
    faults = {
        f"the share is {share:g}: give more than 0, and 1 at most": not 0 < share <= 1,
        f"the confidence is {gates.confidence:g}: give 0.5 or more, and less than 1": not 0.5 <= gates.confidence < 1,  # noqa: PLR2004 - as it says
        f"it would stop at a share of {gates.stop_failures:g} failures: give more than 0, and less than 1": (
            not 0 < gates.stop_failures < 1
        ),
        f"n is {gates.promote_n}: give {ANSWERS_MAX:,} at most": (gates.promote_n or 0) > ANSWERS_MAX,
        "a canary has no live answer to agree with: ask for accuracy, or try it beside the live version (shadow)": (
            by_agreement and not shadow
        ),
        f"the margin is {gates.margin:g}: it may be worse by 0 to {MARGIN_MAX:g} (50 points)": (
            not 0 <= gates.margin <= MARGIN_MAX
        ),
        "nobody can be sure of an agreement of 100 %: ask for less": by_agreement and gates.margin == 0,
    }
    return next((fault for fault, is_so in faults.items() if is_so), "")


def judge(gates: TrialGates, seen: TrialEvidence) -> GateVerdict:
    """Return what the gates say of what was seen so far; asked as often as one likes."""
    told = _told(gates, seen)
    if why := _why_stop(gates, seen):
        return GateVerdict(GateDecision.STOP, f"{told}: {why}, {_sure(gates)}")
    if why := _why_wait(gates, seen):
        return GateVerdict(GateDecision.WAIT, f"{told}: {why}")
    if gates.promote_by == "agreement":
        why = f"they differ in less than {100 * gates.margin:g} %"
    else:
        why = f"not worse by more than {_points(gates)}"
    return GateVerdict(GateDecision.PROMOTE, f"{told}: {why}, {_sure(gates)}")


def _why_stop(gates: TrialGates, seen: TrialEvidence) -> str:
    # An equal candidate may be stopped for either of two reasons: each has half of the risk.
    risk = (1 - gates.confidence) / 2
    asked = seen.answered + seen.failed
    if asked >= FAILURES_OF and is_above(seen.failed, asked, gates.stop_failures, risk):
        return f"more than {100 * gates.stop_failures:g} % of them fail"
    is_judged = gates.promote_n is not None and gates.promote_by == "accuracy"
    if is_judged and _log_ratio(gates, seen, worse=True) >= -math.log(risk):
        return f"worse by more than {_points(gates)}"
    return ""


def _why_wait(gates: TrialGates, seen: TrialEvidence) -> str:
    """Return why a candidate isn't promoted yet."""
    risk = 1 - gates.confidence
    if gates.promote_n is None:
        return "people promote it, since it has no condition for that"
    if seen.failed > gates.stop_failures * (seen.answered + seen.failed):
        return "not promoted while so many fail"
    if seen.answered < gates.promote_n:
        return f"waits for {gates.promote_n:,} answers"
    if gates.promote_by == "agreement":
        is_sure = is_below(seen.answered - seen.agreed, seen.answered, gates.margin, risk)
        return "" if is_sure else f"waits until less than {100 * gates.margin:g} % surely differ"
    if _log_ratio(gates, seen, worse=False) >= -math.log(risk):
        return ""
    return f"waits for reports that say whether it is worse by more than {_points(gates)}"


def _sure(gates: TrialGates) -> str:
    return f"with {100 * gates.confidence:g} % confidence"


def _points(gates: TrialGates) -> str:
    points = f"{100 * gates.margin:g}"
    return f"{points} point" if points == "1" else f"{points} points"


def is_above(count: int, of: int, limit: float, risk: float) -> bool:
    """Return whether a share is surely above a limit."""
    return of > 0 and count / of > limit and _log_binomial(count, of, limit) >= -math.log(risk)


def is_below(count: int, of: int, limit: float, risk: float) -> bool:
    """Return whether a share is surely below a limit."""
    return of > 0 and count / of < limit and _log_binomial(count, of, limit) >= -math.log(risk)


def _log_ratio(gates: TrialGates, seen: TrialEvidence, *, worse: bool) -> float:
    """Return the logarithm of the ratio for "worse than the margin", or for its contrary; 0 if the counts deny it."""
    margin = gates.margin
    pairs = seen.only_candidate + seen.only_live + seen.both_right + seen.both_wrong
    if pairs:
        difference = (seen.only_candidate - seen.only_live) / pairs
        if (difference < -margin) != worse or difference == -margin:
            return 0.0
        return _log_pairs(seen.only_candidate, seen.only_live, seen.both_right + seen.both_wrong, margin)
    if not seen.candidate_reports or not seen.live_reports:
        return 0.0
    difference = seen.candidate_right / seen.candidate_reports - seen.live_right / seen.live_reports
    if (difference < -margin) != worse or difference == -margin:
        return 0.0
    return _log_arms(seen, margin)


def _log_binomial(count: int, of: int, limit: float) -> float:
    return _log_beta(count, of - count) - _xlogy(count, limit) - _xlogy(of - count, 1 - limit)


def _log_pairs(wins: int, losses: int, ties: int, margin: float) -> float:
    """Return the ratio for a difference of exactly -margin: wins have share x, losses x + margin, ties the rest."""
    n = wins + losses + ties
    mixture = (
        math.lgamma(1.5) - math.lgamma(n + 1.5) + sum(math.lgamma(k + 0.5) for k in (wins, losses, ties))
    ) - 3 * math.lgamma(0.5)
    # The likeliest such x is the root of a quadratic.
    b = wins * (1 - 3 * margin) + losses * (1 - margin) - 2 * ties * margin
    x = max(0.0, (b + math.sqrt(b * b + 8 * n * wins * margin * (1 - margin))) / (4 * n))
    x = min(x, (1 - margin) / 2)
    return mixture - _xlogy(wins, x) - _xlogy(losses, x + margin) - _xlogy(ties, 1 - 2 * x - margin)


def _log_arms(seen: TrialEvidence, margin: float) -> float:
    """Return the ratio for a candidate whose accuracy is exactly the live one's less the margin."""
    right, wrong = seen.candidate_right, seen.candidate_reports - seen.candidate_right
    live_right, live_wrong = seen.live_right, seen.live_reports - seen.live_right
    low, high = margin, 1.0
    for _ in range(STEPS):  # the likelihood is concave in the live one's accuracy: halve where it rises
        x = (low + high) / 2
        slope = right / (x - margin) - wrong / (1 - x + margin) + live_right / x - live_wrong / (1 - x)
        low, high = (x, high) if slope > 0 else (low, x)
    x = (low + high) / 2
    likelihood = _xlogy(right, x - margin) + _xlogy(wrong, 1 - x + margin)
    return (
        _log_beta(right, wrong)
        + _log_beta(live_right, live_wrong)
        - (likelihood + _xlogy(live_right, x) + _xlogy(live_wrong, 1 - x))
    )


def _log_beta(one: int, other: int) -> float:
    """Return the logarithm of the mean likelihood of so many of each kind under Jeffreys' prior."""
    return math.lgamma(one + 0.5) + math.lgamma(other + 0.5) - math.lgamma(one + other + 1) - 2 * math.lgamma(0.5)


def _xlogy(count: int, share: float) -> float:
    if not count:
        return 0.0
    return count * math.log(share) if share > 0 else -math.inf


def _told(gates: TrialGates, seen: TrialEvidence) -> str:
    told = f"{seen.answered:,} answered, {seen.failed:,} failed"
    if gates.promote_n is None:
        return told
    if gates.promote_by == "agreement":
        return f"{told}; {100 * seen.agreed / seen.answered:.1f} % agree" if seen.answered else told
    pairs = seen.only_candidate + seen.only_live + seen.both_right + seen.both_wrong
    if pairs:
        right = 100 * (seen.both_right + seen.only_candidate) / pairs
        live = 100 * (seen.both_right + seen.only_live) / pairs
        return f"{told}; of {pairs:,} reports {right:.1f} % say it is right, {live:.1f} % the live one"
    if seen.candidate_reports and seen.live_reports:
        right, live = 100 * seen.candidate_right / seen.candidate_reports, 100 * seen.live_right / seen.live_reports
        return (
            f"{told}; {right:.1f} % of {seen.candidate_reports:,} reports say it is right, "
            f"{live:.1f} % of {seen.live_reports:,} the live one"
        )
    return f"{told}; no report yet"
