"""What a job needs, computed from what was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import sizing
from scripts.benchmark import photos
from sluice.settings import Settings

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
VALUES = yaml.safe_load((ROOT / "charts" / "sluice" / "values.yaml").read_text())


def result(**costs: float) -> dict[str, Any]:
    """Make a result of scripts/bench in which each part costs a round number of milliseconds."""
    parts = {"consumer-0": 2.0, "producer-0": 1.0, "database": 0.5, "s3": 0.3, **costs}
    parts |= {"torchserve (java)": 10.0, "torchserve (python)": 40.0}
    return {
        "machine": {"processor": "a chip, 2 cores"},
        "arguments": {"model": "resnet18-random"},
        "stages": [{"name": "commit", "wall": 0.1, "cpu": 0.05}],
        "rounds": [{"sluice": 30.0, "cpu_ms": parts}],
        "noop": [{"rate": 300.0, "cpu_ms": {**parts, "torchserve (java)": 0.5, "torchserve (python)": 0.5}}],
    }


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """A result as scripts/bench writes it."""
    path = tmp_path / "20260101-000000.json"
    path.write_text(json.dumps(result()))
    return path


def limits(folder: Path, name: str, measurement: str, value: float) -> Path:
    """Write a result of scripts/limits."""
    path = folder / f"limits-{name}.json"
    path.write_text(json.dumps({"figures": [{"measurement": measurement, "value": value}]}))
    return path


def test_each_part_does_what_its_processor_time_allows(bench: Path) -> None:
    measured = sizing.Measured.read(bench, None)
    assert measured.consumer.per_core == 500
    assert measured.producer.per_core == 1000
    assert measured.database.per_core == 2000
    assert measured.torchserve.per_core == 20


def test_the_model_costs_what_it_does_in_rounds_with_a_model_the_rest_is_the_median_of_all(tmp_path: Path) -> None:
    found = result()
    found["noop"].append({"rate": 310.0, "cpu_ms": {**found["noop"][0]["cpu_ms"], "consumer-0": 8.0}})
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(found))
    measured = sizing.Measured.read(path, None)
    assert measured.torchserve.median == 50
    assert (measured.consumer.median, measured.consumer.most) == (2, 8)
    assert measured.rate_without_model == 305


def test_several_consumers_are_one_part(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(result(**{"consumer-1": 3.0})))
    assert sizing.Measured.read(path, None).consumer.median == 5


def test_a_plan_is_the_arithmetic_that_stands_beside_it(bench: Path) -> None:
    plan = sizing.Plan.of(sizing.Measured.read(bench, None), 3_600_000, 1, per_pod=100)
    assert plan.rate == 1000
    assert plan.pods == 15  # 1,000 / (0.7 x 100)
    assert plan.consumer_cores == pytest.approx(1000 / 350)
    assert plan.shards == 2
    assert plan.connections == 4 * 2 + 19 + 10  # 1.25 x 15 consumers


def test_there_are_consumers_enough_to_keep_each_torchserve_busy(bench: Path) -> None:
    measured = sizing.Measured.read(bench, None)
    assert sizing.Plan.of(measured, 3_600_000, 1, per_pod=10).consumers == 143  # as many as pods
    assert sizing.Plan.of(measured, 3_600_000, 1, per_pod=5000).consumers == 3  # what their cores can do


def test_facts_of_the_code_are_so() -> None:
    assert Settings.model_fields["requests_in_flight"].default == sizing.REQUESTS_IN_FLIGHT
    service = (ROOT / "producer" / "service.py").read_text()
    assert len(re.findall(r"\b(?:Books|ShardLock)\(settings, ", service)) == sizing.PRODUCER_CONNECTIONS
    assert len(re.findall(r"\bDatabase\(", (ROOT / "consumer" / "books.py").read_text())) == 1
    assert VALUES["consumer"]["strategy"]["rollingUpdate"]["maxSurge"] == f"{sizing.CONSUMER_SURGE - 1:.0%}"
    assert VALUES["consumer"]["autoscaling"]["targetCPUUtilizationPercentage"] / 100 == sizing.SHARE
    assert photos.TARGET_BYTES == sizing.PHOTO_BYTES


def test_the_newest_results_are_found_and_of_limits_those_that_counted_keys(bench: Path) -> None:
    older = bench.with_name("20250101-000000.json")
    older.write_text("{}")
    keys = limits(bench.parent, "20260101-000000", "keys", 15_000)
    limits(bench.parent, "20260102-000000", "idle", 0.2)
    assert sizing.newest(bench.parent) == (bench, keys)


def test_a_figure_of_ones_own_takes_torchserves_place(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sizing.main([str(bench), "--torchserve-rate", "900"]) == 0
    printed = capsys.readouterr().out
    assert "900 images/s a pod" in printed
    assert "No GPU" not in printed


def test_without_one_it_says_that_no_gpu_was_measured(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sizing.main([str(bench)]) == 0
    assert "No GPU was measured" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps(result(database=0.0))])
def test_what_nothing_can_be_computed_from_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = tmp_path / "odd.json"
    path.write_text(text)
    assert sizing.main([str(path)]) == 2
    assert f"{path} is no result of scripts/bench" in capsys.readouterr().err


def test_limits_that_counted_no_keys_are_named(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    idle = limits(bench.parent, "idle", "idle", 0.2)
    assert sizing.main([str(bench), "--limits", str(idle)]) == 2
    assert f"{idle} is no result of scripts/limits" in capsys.readouterr().err


def test_the_guide_has_the_table_as_it_is_computed(capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(EXAMPLES / "bench.json"), "--limits", str(EXAMPLES / "limits.json")]
    assert sizing.main(words) == 0
    text = (ROOT / "docs" / "production.md").read_text()
    _, _, rest = text.partition("<!-- made by `scripts/sizing ")
    assert rest.partition(" -->\n\n")[2].partition("\n<!-- end -->")[0] == capsys.readouterr().out


def test_the_result_in_the_guide_is_the_one_that_the_benchmarks_tell_of() -> None:
    measured = sizing.Measured.read(EXAMPLES / "bench.json", EXAMPLES / "limits.json")
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    assert f"| Sluice, from S3 to committed row | {measured.rate:.1f} |" in text
    assert f"| Sluice with a model that computes nothing | {measured.rate_without_model:.0f} |" in text
    assert measured.keys is not None
    assert f"| {measured.keys:,.0f} keys/s |" in text
