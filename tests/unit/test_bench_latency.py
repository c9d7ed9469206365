"""The arithmetic of `scripts/bench latency`; it is run as a whole by hand."""

from __future__ import annotations

from dataclasses import replace

from tools.bench.latency import Cell, Waited, missed, quantile
from tools.bench.latency_load import due_now


def test_quantiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert [quantile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert quantile([7.0], 0.99) == 7.0


def test_goals_are_for_idle_ones() -> None:
    idle = Cell("listing", is_busy=False, pictures=[Waited(1.0, 2.0)], told=0.0, done=0.0, stolen=0.0)
    found = missed([idle, replace(idle, is_busy=True)])
    assert [each.partition(" is ")[0] for each in found] == ["listing, idle: p50", "listing, idle: p99"]
    assert missed([replace(idle, pictures=[Waited(0.1, 0.2)])]) == []


def test_a_load_catches_up_with_its_rate() -> None:
    assert due_now(10.0, 0.55, 2) == 3
    assert due_now(10.0, 0.1, 2) == 0
