"""The figures, the table and the plot of `scripts/bench peers`, and the locks of its environments."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from tools.bench.peers.bare_system import arrangements
from tools.bench.peers.environments import LOCKS, version_of
from tools.bench.peers.report import fastest, plot, ratios, table
from tools.bench.peers.roster import PEERS
from tools.bench.peers.runs import SystemRun, figures
from tools.bench.peers.watch import Family

ROOT = Path(__file__).parents[2]
SAME = ("cykooz-resizer", "numpy", "openvino", "pillow", "safetensors", "torch", "torchvision")


def a_run(committed: list[float], **more: Any) -> SystemRun:  # noqa: ANN401 - any of its fields
    family = Family(clock=[0.0, 10.0, 20.0], seconds=[0.0, 10.0, 14.0], peak_mib=300.0)
    return SystemRun(began=0.0, committed=committed, predictions={}, families={"system": family}, **more)


def a_system(name: str, *rates: float, **more: float) -> dict[str, Any]:
    rounds = [
        {"rate": rate, "rate_with_start": rate / 2, "cpu_ms_system": 20.0, "peak_mib_system": 900.0, **more}
        for rate in rates
    ]
    return {"name": name, "title": name.title(), "version": "1", "rounds": rounds}


def some_results(*systems: dict[str, Any]) -> dict[str, Any]:
    return {
        "machine": {"processor": "a processor, 2 cores"},
        "models": {"sluice": "noop, torch fp32", "peers": "noop, torch fp32"},
        "photos": 100,
        "warm": 10,
        "sweep": [{"processes": 2, "threads": 1, "rate": 50.0}],
        "arrangement": {"processes": 2, "threads": 1},
        "stolen": 0.0,
        "systems": list(systems),
    }


def test_a_start_is_told_apart() -> None:
    found = figures(a_run([10.0, 10.0, 12.0, 14.0, 16.0, 20.0]), warm=2)
    assert found["rate"] == 4 / 10
    assert found["rate_with_start"] == 6 / 20
    assert found["first"] == 10
    assert found["cpu_ms_system"] == 1000
    assert found["cpu_ms_system_with_start"] == pytest.approx(1000 * 14 / 6)
    assert found["peak_mib_system"] == 300


def test_rows_that_came_with_the_last_of_the_warm_up_do_not_count() -> None:
    assert figures(a_run([5.0, 10.0, 10.0, 10.0, 20.0]), warm=2)["rate"] == 1 / 10


def test_rows_that_all_come_at_once_are_measured_from_the_start() -> None:
    assert figures(a_run([20.0, 20.0, 20.0]), warm=1)["rate"] == 3 / 20


def test_latencies_are_summed_up_and_may_be_unknown() -> None:
    known = figures(a_run([1.0, 2.0], latencies=[float(n) for n in range(101)]), warm=1)
    assert (known["p50"], known["p99"]) == (50, 99)
    assert figures(a_run([1.0, 2.0], quantiles=(1.5, 3.0)), warm=1)["p99"] == 3
    assert figures(a_run([1.0, 2.0]), warm=1)["p50"] is None


def test_processor_time_is_interpolated_between_samples_and_ends_with_them() -> None:
    family = Family(clock=[100.0, 102.0], seconds=[3.0, 5.0])
    assert family.between(100.5, 101.0) == pytest.approx(0.5)
    assert family.between(0.0, 1000.0) == pytest.approx(2.0)
    assert Family().between(0.0, 1.0) == 0


def test_ratios_are_those_of_the_same_round() -> None:
    assert ratios(a_system("sluice", 40, 80), a_system("ray", 50, 100)) == [0.8, 0.8]


def test_a_peer_that_is_ahead_is_shown_ahead() -> None:
    results = some_results(
        a_system("sluice", 40.0, 40.0),
        a_system("ray", 50.0, 50.0),
        a_system("daft", 30.0, 30.0),
        a_system("bare", 45.0),
    )
    results["systems"][-1]["rounds"] *= 2
    lines = table(results).splitlines()
    order = [line.split()[0] for line in lines if line.startswith(("Ray", "Sluice 1", "Daft", "Bare"))]
    assert order == ["Ray", "Bare", "Sluice", "Daft"]
    assert "Sluice / the fastest peer, Ray, after its start: 0.80 (0.80 to 0.80)" in lines
    assert any(line.startswith("Sluice / the bare loop after its start: 0.89") for line in lines)


def test_neither_sluice_nor_the_bare_loop_is_a_peer() -> None:
    systems = [a_system("sluice", 90.0), a_system("bare", 80.0), a_system("daft", 10.0)]
    assert fastest(systems) is systems[2]
    assert fastest(systems[:2]) is None


def test_one_system_alone_has_a_table_too() -> None:
    assert "Daft 1" in table(some_results(a_system("daft", 10.0)))


def test_the_plot_is_an_svg_and_names_each_system(tmp_path: Path) -> None:
    plot(some_results(a_system("sluice", 40.0, 44.0), a_system("ray", 50.0, 51.0)), tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").read_text().lstrip().startswith("<?xml")


@pytest.mark.parametrize(("cores", "expected"), [(1, {(1, 1), (1, 2)}), (2, {(1, 2), (1, 4), (2, 1), (2, 2)})])
def test_each_arrangement_uses_all_cores(cores: int, expected: set[tuple[int, int]]) -> None:
    assert set(arrangements(cores)) == expected
    assert all(math.prod(each) >= cores for each in arrangements(cores))


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_each_peer_is_locked_with_hashes_and_the_same_network_code(peer: Any) -> None:  # noqa: ANN401 - a Peer
    lock = (LOCKS / f"{peer.name}.txt").read_text()
    ours = (ROOT / "requirements-all.txt").read_text()
    assert version_of(peer.name, peer.package)
    for package in SAME:
        (wanted,) = re.findall(rf"^{package}==([^\s;]+)", ours, re.MULTILINE)
        assert version_of(peer.name, package) == wanted
    assert "://" not in lock
    pins = re.findall(r"^[a-z0-9._-]+(?:\[.*\])?==.*$", lock, re.MULTILINE)
    assert pins
    assert all(pin.endswith("\\") for pin in pins)
