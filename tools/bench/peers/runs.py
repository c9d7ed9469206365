"""One run of one system, and the figures that are read from it."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tools.bench.peers.watch import Family

Figures = dict[str, float | None]


@dataclass(frozen=True)
class SystemRun:
    """What a system did between its start and its last row. Moments are seconds since 1970."""

    began: float
    committed: Sequence[float]
    """When each row was committed, in order; for the bare loop when each answer was there."""
    predictions: Mapping[str, tuple[str, float]]
    """Label and score by the photo's key."""
    families: Mapping[str, Family]
    latencies: Sequence[float] = ()
    """Seconds from fetch to row, of the rows that came after the warm-up."""
    quantiles: tuple[float, float] | None = None
    """The median and the 99th percentile of the same, where single ones aren't known."""


def figures(run: SystemRun, warm: int) -> Figures:
    """Return a run's figures; those after its start leave out all until the row number `warm` is committed."""
    last = run.committed[-1]
    begin = run.committed[warm - 1]
    after = len(run.committed) - bisect_right(run.committed, begin)
    if not after:  # all rows came at once
        begin, after = run.began, len(run.committed)
    p50, p99 = _quantiles(run)
    found: Figures = {
        "rate": after / (last - begin),
        "seconds": last - begin,
        "rate_with_start": len(run.committed) / (last - run.began),
        "first": run.committed[0] - run.began,
        "p50": p50,
        "p99": p99,
    }
    for name, family in run.families.items():
        found[f"cpu_ms_{name}"] = 1000 * family.between(begin, last) / after
        found[f"cpu_ms_{name}_with_start"] = 1000 * family.between(run.began, last) / len(run.committed)
        found[f"peak_mib_{name}"] = family.peak_mib
    return found


def _quantiles(run: SystemRun) -> tuple[float | None, float | None]:
    if run.quantiles:
        return run.quantiles
    if len(run.latencies) < 2:  # noqa: PLR2004 - what quantiles need
        return None, None
    return statistics.median(run.latencies), statistics.quantiles(run.latencies, n=100, method="inclusive")[98]
