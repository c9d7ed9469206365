"""When a window differs from its reference: by more than chance, and by enough to matter.

Chance is what two samples of the same pictures differ by. The usual measure, the population stability index (PSI), is
never 0 for two samples: its mean is (buckets - 1) * (1/n + 1/m), so a model with many labels would seem to drift for
ever. So that much is taken off it, and whether the rest is chance is said by a chi-square test of the same counts, as
the number of standard deviations of a normal distribution that is as improbable (Wilson and Hilferty's approximation).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Final

from sluice.drift.buckets import RATES, STATISTICS, Statistic
from sluice.drift.counting import WindowCounts

LEAST_EXPECTED: Final = 5.0
"""Buckets in which a sample would have fewer pictures are counted together: the test is wrong for them."""
LEAST_PICTURES: Final = 50
"""A statistic with fewer pictures on either side isn't judged."""
OTHERS: Final = "others"
BEYOND_CHANCE: Final = 4.0
"""Standard deviations: passed by chance once in 30,000 times."""
LEAST_PSI: Final = 0.05
"""Without what chance gives. 20 points that move from one of two labels to the other make 0.16 or more."""
LEAST_MOVED: Final = 0.05
"""The least share of the pictures that is in other buckets than before. The PSI alone grows much where few vanish."""
LEAST_RATE: Final = 0.01
"""The least rise of a rate that is told."""


@dataclass(frozen=True, slots=True)
class WindowFinding:
    """What was found of one statistic of a window."""

    statistic: Statistic
    psi: float
    """Population stability index without what chance gives; for a rate: by how much it rose."""
    beyond: float
    """How far beyond chance, in standard deviations."""
    before: float | None
    """The reference's mean or rate; labels have none."""
    now: float | None
    pictures: int
    alarm: bool


def compare(reference: WindowCounts, window: WindowCounts) -> list[WindowFinding]:
    """Compare a window with its reference; statistics that either side has too few pictures of are left out."""
    found = []
    for statistic in STATISTICS:
        if min(reference.total(statistic), window.total(statistic)) < LEAST_PICTURES:
            continue
        psi, beyond, share_moved = _shift(reference.buckets[statistic], window.buckets[statistic])
        alarm = psi >= LEAST_PSI and beyond >= BEYOND_CHANCE and share_moved >= LEAST_MOVED
        means = reference.mean(statistic), window.mean(statistic)
        found.append(WindowFinding(statistic, psi, beyond, *means, window.total(statistic), alarm))
    for statistic in RATES:
        before, now = reference.rates.get(statistic, (0, 0)), window.rates.get(statistic, (0, 0))
        if min(before[1], now[1]) >= LEAST_PICTURES:
            found.append(_rise(statistic, before, now))
    return found


def _rise(statistic: Statistic, before: tuple[int, int], now: tuple[int, int]) -> WindowFinding:
    """Compare how many of how many pictures something was so of; only a rise is an alarm."""
    # As an angle, whose spread is the same for all shares; 3/8 for those with few (Anscombe).
    angles = [math.asin(math.sqrt((part + 0.375) / (whole + 0.75))) for part, whole in (before, now)]
    beyond = max(0.0, (angles[1] - angles[0]) * 2 / math.sqrt(1 / before[1] + 1 / now[1]))
    was, rate = before[0] / before[1], now[0] / now[1]
    alarm = rate - was >= LEAST_RATE and beyond >= BEYOND_CHANCE
    return WindowFinding(statistic, max(0.0, rate - was), beyond, was, rate, now[1], alarm)


def moved(reference: WindowCounts, window: WindowCounts, statistic: Statistic, most: int = 4) -> list[str]:
    """Return the buckets whose share has grown most, those that grew by nothing to speak of left out."""
    shares = [
        {bucket: count / max(1, counts.total(statistic)) for bucket, count in counts.buckets[statistic].items()}
        for counts in (reference, window)
        if statistic in counts.buckets
    ]
    if len(shares) < 2:  # noqa: PLR2004 - both
        return []
    before, now = shares
    growth = {bucket: share - before.get(bucket, 0.0) for bucket, share in now.items()}
    grown = sorted(growth, key=lambda bucket: (-growth[bucket], bucket))
    return [bucket for bucket in grown[:most] if growth[bucket] >= LEAST_RATE]


def _shift(before: Counter[str], now: Counter[str]) -> tuple[float, float, float]:
    """Return the PSI without chance's part, how far the counts are apart beyond chance, and which share has moved."""
    first, second = before.total(), now.total()
    pairs = _merged(before, now)
    if len(pairs) < 2:  # noqa: PLR2004 - with one bucket nothing can move
        return 0.0, 0.0, 0.0
    psi = square = share_moved = 0.0
    for one, other in pairs:
        # Half a picture more in each, so that an empty bucket has a logarithm.
        share, share_now = (one + 0.5) / (first + 0.5 * len(pairs)), (other + 0.5) / (second + 0.5 * len(pairs))
        psi += (share_now - share) * math.log(share_now / share)
        share_moved += abs(share_now - share) / 2
        square += (one * second - other * first) ** 2 / (first * second * (one + other))
    free = len(pairs) - 1
    by_chance = free * (1 / first + 1 / second)
    return max(0.0, psi - by_chance), max(0.0, _deviations(square, free)), share_moved


def _merged(before: Counter[str], now: Counter[str]) -> list[tuple[int, int]]:
    """Return the counts of each bucket on both sides, rare buckets as one."""
    both = before + now
    least = LEAST_EXPECTED * both.total() / max(1, min(before.total(), now.total()))
    rare = [bucket for bucket, count in both.items() if count < least]
    pairs = [(before[bucket], now[bucket]) for bucket in both if bucket not in set(rare)]
    if rare:
        pairs.append((sum(before[bucket] for bucket in rare), sum(now[bucket] for bucket in rare)))
    return [pair for pair in pairs if any(pair)]


def _deviations(square: float, free: int) -> float:
    """Return a chi-square sum as standard deviations of a normal distribution."""
    spread = 2 / (9 * free)
    return (math.cbrt(square / free) - (1 - spread)) / math.sqrt(spread)
