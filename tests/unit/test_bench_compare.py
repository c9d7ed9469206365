"""`scripts/bench --compare`: what it calls a change, and what it refuses to compare."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.bench.compare import differences, main, newest, refuse_unlike, share, warnings, which
from tools.bench.peers import report as peers_report
from tools.bench.report import in_rounds
from tools.bench.rounds import Incomparable, Measured, Measurement, part_of_json, read, settings_of

HERE = {"processor": "one", "memory": "24 GiB"}
THERE = {"processor": "another", "memory": "24 GiB"}
BASE = "bare loop"


def a_measurement(seed: int, count: int = 8, machine_speed: float = 1.0, **factors: float) -> Measurement:
    """Return rounds in which the machine's speed varies by tens of percent, and each figure by two of its own."""
    random = np.random.default_rng(seed)
    speeds = machine_speed * random.uniform(0.7, 1.3, count)

    def rounds(value: float, power: int, name: str) -> list[float]:
        own = random.normal(1, 0.02, count)
        return list(value * factors.get(name, 1.0) * speeds**power * own)

    figures = [
        Measured(BASE, "images/s", rounds(30, 1, "bare")),
        Measured("Sluice", "images/s", rounds(25, 1, "rate")),
        Measured("decode", "ms", rounds(2, -1, "ms")),
        Measured("consumer", "MiB", rounds(120, 0, "memory")),
    ]
    return Measurement("run", HERE, {"images": 400}, BASE, figures)


def words(old: Measurement, new: Measurement) -> dict[str, str]:
    return {each.name: each.word for each in differences(old, new) if each.name != BASE}


def regressions(old: Measurement, new: Measurement, bound: float = 0.05) -> list[str]:
    return [each.name for each in differences(old, new) if each.is_regression(bound)]


def test_what_became_worse_is_told_and_what_the_machine_did_is_not() -> None:
    old, new = a_measurement(1), a_measurement(2, machine_speed=0.5, rate=0.8, ms=1.3, memory=1.2)
    assert words(old, new) == {"Sluice": "slower", "decode": "slower", "consumer": "larger"}
    assert regressions(old, new) == ["Sluice", "decode", "consumer"]
    assert words(new, old) == {"Sluice": "faster", "decode": "faster", "consumer": "smaller"}
    assert regressions(new, old) == []
    assert regressions(old, new, bound=0.25) == ["decode"]


def test_noise_alone_is_seldom_a_regression() -> None:
    pairs = [(a_measurement(2 * seed, 5), a_measurement(2 * seed + 1, 5)) for seed in range(30)]
    assert sum(bool(regressions(*pair)) for pair in pairs) <= 1


def test_a_slower_machine_is_no_regression_without_anything_else() -> None:
    found = differences(a_measurement(1, bare=1.0), a_measurement(2, machine_speed=0.4))
    assert next(each for each in found if each.name == BASE).word == "slower"
    assert not any(each.is_regression(0.0) for each in found if each.name == BASE)


def test_a_baseline_that_was_lucky_is_no_regression_of_all_others() -> None:
    assert regressions(a_measurement(1), a_measurement(2, bare=2.0)) == []


def test_of_another_machine_only_ratios_count() -> None:
    old, new = a_measurement(1), replace(a_measurement(2), machine=THERE)
    refuse_unlike(old, new)
    assert "only ratios to bare loop" in "".join(warnings(old, new))
    assert "consumer" not in words(old, new)
    assert "Sluice" in words(old, new)


def test_unlike_files_are_refused_by_name() -> None:
    one = a_measurement(1)
    for other, told in (
        (replace(one, bench="archives"), "scripts/bench archives"),
        (replace(one, settings={"images": 100}), "images is 400 and 100"),
        (replace(one, baseline="Sluice"), "other baselines"),
        (a_measurement(2, 2), "2 rounds tell nothing"),
    ):
        with pytest.raises(Incomparable, match=told):
            refuse_unlike(one, other)
    nothing = replace(one, baseline="")
    with pytest.raises(Incomparable, match="no baseline in the files"):
        refuse_unlike(nothing, replace(nothing, machine=THERE))
    with pytest.raises(Incomparable, match="no figure in common"):
        differences(one, replace(one, figures=[Measured("new", "ms", [1.0] * 8)]))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no", "is not JSON"),
        ("[]", "measure again with this release's"),
        ('{"measured": {}}', "is damaged"),
        ('{"measured": {"bench": "run", "machine": {}, "settings": {}, "baseline": "x", "figures": []}}', "damaged"),
        (json.dumps(part_of_json(replace(a_measurement(1), baseline="gone"))), "no figure 'gone'"),
        (json.dumps(part_of_json(replace(a_measurement(1), figures=[Measured(BASE, "furlongs", [1])]))), "furlongs"),
        (json.dumps(part_of_json(a_measurement(1))).replace("[", "[-1, ", 2), "damaged"),
    ],
)
def test_what_is_no_measurement_is_named(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(Incomparable, match=told) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_shares() -> None:
    assert (share("5%"), share("0.05"), share("0"), share("2.5%")) == (0.05, 0.05, 0, 0.025)


def written(folder: Path, name: str, measurement: Measurement) -> Path:
    path = folder / name
    path.write_text(json.dumps({"more": 1, **part_of_json(measurement)}))
    return path


def test_the_newest_of_the_same_benchmark_is_chosen(tmp_path: Path) -> None:
    first = written(tmp_path, "1.json", a_measurement(1))
    with pytest.raises(Incomparable, match=r"no other measurement: run scripts/bench$"):
        newest(tmp_path, first)
    written(tmp_path, "2-archives.json", replace(a_measurement(1), bench="archives"))
    (tmp_path / "load.json").write_text("{}")
    second = written(tmp_path, "3.json", a_measurement(2))
    assert which(first, None, tmp_path) == (first, second)
    assert which(tmp_path, None, Path("elsewhere")) == (first, second)


def test_the_command_tells_by_its_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, worse = written(tmp_path, "1.json", a_measurement(1)), written(tmp_path, "2.json", a_measurement(2, rate=0.7))

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert isinstance(ended.value.code, int)
        return ended.value.code, *capsys.readouterr()

    code, told, warned = run(f"{old}", f"{worse}")
    assert (code, warned) == (1, "")
    assert "worse by more than 5%: Sluice" in told
    assert run(f"{old}", f"{worse}", "--bound", "40%")[0] == 0
    assert run(f"{old}", f"{tmp_path}/gone.json") == (
        2,
        "",
        f"bench: {tmp_path}/gone.json: No such file or directory\n",
    )


def test_rounds_of_the_benchmark_and_of_peers() -> None:
    costs: dict[str, Any] = {"p50": 1.0, "p99": 2.0, "cpu_ms": {"consumer": 3.0}, "peak_mib": {"consumer": 99.0}}
    results = {
        "machine": HERE,
        "arguments": {"model": "m", "images": 4, "rounds": 2, "output": Path("bench")},
        "runs_as": {"runtime": "torch"},
        "rounds": [{"bare": 3.0, "sluice": 2.0, "plain": 1.0, **costs}] * 2,
        "noop": [{"rate": 9.0, **costs}] * 2,
        "stages": [{"name": "hop", "rounds": [[{"wall": 1.0}, {"wall": 2.0}, {"wall": 9.0}]] * 2}],
    }
    found = in_rounds(results)
    assert found.settings == {"model": "m", "images": 4, "runs_as": {"runtime": "torch"}}
    values = {each.name: each.rounds for each in found.figures}
    assert values["hop, alone"] == [2.0, 2.0]
    assert values["Sluice with no model"] == [9.0, 9.0]
    assert values["Sluice with m, peak: consumer"] == [99.0, 99.0]
    systems = [
        {"name": name, "title": name, "version": "1", "rounds": [{"rate": 2.0, "p50": None}] * 2}
        for name in ("sluice", "ray", "bare")
    ]
    more = {"machine": HERE, "arguments": {"json": None}, "models": {}, "arrangement": {}, "photos": 7}
    of_peers = peers_report.in_rounds({**more, "systems": systems})
    assert (of_peers.baseline, [each.name for each in of_peers.figures]) == ("bare", ["sluice", "ray 1", "bare"])


def test_settings_are_what_json_has() -> None:
    assert settings_of({"rounds": 3, "arrangement": (2, 1), "json": None}) == {"arrangement": [2, 1]}
