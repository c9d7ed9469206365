"""Where the bars and lines of a drift plot stand; the template draws them, in the page's own colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sluice.drift import Statistic, bucket_name
from sluice.drift.buckets import EDGES, RATES
from sluice.ledger.drift_pages import DriftFinding, DriftSide

LABELS: Final = 8
"""Labels that are drawn: those whose share differs most."""
WIDTH: Final = 320.0
HEIGHT: Final = 120.0
LEAST_TOP: Final = 0.1
"""Of a line: so that a calm one looks calm."""


@dataclass(frozen=True, slots=True)
class PlotBar:
    """A bucket: its share in the reference and now, and where its bars stand."""

    name: str
    before: float
    now: float
    x: float
    width: float
    before_height: float
    now_height: float


@dataclass(frozen=True, slots=True)
class PlotDot:
    """A window in the line of a statistic."""

    x: float
    y: float
    window_no: int
    value: float
    alarm: bool


@dataclass(frozen=True, slots=True)
class DriftPlot:
    """What is drawn of one statistic."""

    finding: DriftFinding
    is_rate: bool
    is_label: bool
    bars: list[PlotBar]
    dots: list[PlotDot]
    top: float
    """The value at the upper edge of the line."""

    @property
    def line(self) -> str:
        """Return the line's points, as SVG has them."""
        return " ".join(f"{dot.x:.1f},{dot.y:.1f}" for dot in self.dots)


def plot(finding: DriftFinding, sides: DriftSide | None, windows: Sequence[DriftFinding]) -> DriftPlot:
    """Return the plot of a statistic: its shares in the last window, and how it went in the windows that are kept."""
    statistic = Statistic(finding.statistic)
    is_rate = statistic in RATES
    dots, top = _dots([each for each in windows if each.statistic == finding.statistic], is_rate=is_rate)
    bars = [] if sides is None or is_rate else _bars(statistic, sides)
    return DriftPlot(finding, is_rate, statistic is Statistic.LABEL, bars, dots, top)


def _bars(statistic: Statistic, sides: DriftSide) -> list[PlotBar]:
    shares = [
        {bucket: number / counts.total(statistic) for bucket, number in counts.buckets[statistic].items()}
        if counts.total(statistic)
        else {}
        for counts in (sides.before, sides.now)
    ]
    before, now = shares
    if statistic is Statistic.LABEL:
        names = sorted(before | now, key=lambda name: (-abs(now.get(name, 0) - before.get(name, 0)), name))[:LABELS]
    else:
        names = [str(number) for number in range(len(EDGES[statistic]) + 1)]
    most = max([*before.values(), *now.values()], default=1.0)
    step = WIDTH / max(1, len(names))
    return [
        PlotBar(
            bucket_name(statistic, name),
            before.get(name, 0.0),
            now.get(name, 0.0),
            place * step,
            step,
            HEIGHT * before.get(name, 0.0) / most,
            HEIGHT * now.get(name, 0.0) / most,
        )
        for place, name in enumerate(names)
    ]


def _dots(windows: Sequence[DriftFinding], *, is_rate: bool) -> tuple[list[PlotDot], float]:
    values = [(each.now or 0.0) if is_rate else each.psi for each in windows]
    top = max([LEAST_TOP, *values])
    step = WIDTH / max(1, len(windows) - 1)
    return [
        PlotDot(place * step, HEIGHT * (1 - value / top), each.window_no, value, each.alarm)
        for place, (each, value) in enumerate(zip(windows, values, strict=True))
    ], top
