"""values.yaml, its table and its schema agree; unknown values are rejected."""

from __future__ import annotations

import re

import pytest
import yaml

from sluice.settings import Settings
from tests.chart.rendered import ROOT, Values, refusal, render, run_helm
from tools.chart.values import CHART, OWNED, leaves, make_readme, make_schema, read_values

VALUES = read_values((CHART / "values.yaml").read_text())


def test_the_schema_is_made_from_the_values() -> None:
    assert (CHART / "values.schema.json").read_text() == make_schema(VALUES), "run `python -m tools.chart.values`"


def test_the_table_is_made_from_the_values() -> None:
    readme = (CHART / "README.md").read_text()
    assert readme == make_readme(readme, VALUES), "run `python -m tools.chart.values`"


def test_each_value_is_read_by_a_template() -> None:
    templates = "\n".join(path.read_text() for path in (CHART / "templates").rglob("*.*"))
    # Templates read a component's values by `$values` or `with`, so only the last part of the path must be there.
    assert [value.path for value in leaves(VALUES) if not re.search(rf"\.{value.path[-1]}\b", templates)] == []


def test_the_chart_is_the_version_of_the_program() -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == version.group(1)


def test_lint_finds_nothing() -> None:
    done = run_helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"consumers": {}}, "consumers"),
        ({"consumer": {"replica": 3}}, "replica"),
        ({"consumer": {"autoscaling": {"maxReplica": 3}}}, "maxReplica"),
        ({"consumer": {"resources": {"request": {}}}}, "request"),
        ({"consumer": {"tolerations": [{"keys": "x"}]}}, "keys"),
        ({"consumer": {"autoscaling": {"behavior": {"scaleup": {}}}}}, "scaleup"),
        ({"config": {"bach": 3}}, "bach"),
        ({"config": {"shards": 3}}, "shards"),
        ({"torchserve": {"models": [{"name": "a", "version": "1", "archiv": "a.mar"}]}}, "archiv"),
        ({"networkPolicy": {"dnsPeers": [{"podselector": {}}]}}, "podselector"),
    ],
)
def test_a_typo_is_refused_and_named(values: Values, named: str) -> None:
    assert f"'{named}'" in refusal(values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"consumer": {"replicas": "3"}}, "/consumer/replicas"),
        ({"consumer": {"replicas": -1}}, "/consumer/replicas"),
        ({"producer": {"shards": 65}}, "/producer/shards"),
        ({"config": {"batch": 0}}, "/config/batch"),
        ({"config": {"log_format": "xml"}}, "/config/log_format"),
        ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
        ({"image": {"digest": "latest"}}, "/image/digest"),
        ({"image": {"registry": "registry.example.com/"}}, "/image/registry"),
        ({"mysql": {"image": {"registry": "https://registry.example.com"}}}, "/mysql/image/registry"),
        ({"torchserve": {"service": {"loadBalancerSourceRanges": ["10.0.0.1"]}}}, "/loadBalancerSourceRanges/0"),
        ({"torchserve": {"service": {"loadBalancerSourceRanges": ["office/24"]}}}, "/loadBalancerSourceRanges/0"),
        ({"torchserve": {"models": []}}, "/torchserve/models"),
        ({"torchserve": {"models": [{"name": "a", "version": 1.0, "archive": "a.mar"}]}}, "/version"),
        ({"torchserve": {"modelStore": {"type": "nfs"}}}, "/torchserve/modelStore/type"),
        ({"torchserve": {"service": {"type": "ExternalName"}}}, "/torchserve/service/type"),
        ({"mysql": {"storage": {"size": "8 GB"}}}, "/mysql/storage/size"),
        ({"s3": {"buckets": ["A_b"]}}, "/s3/buckets/0"),
        ({"gateway": {"store": "s3://images/no-slash"}}, "/gateway/store"),
        ({"gateway": {"anonymous": "admin"}}, "/gateway/anonymous"),
        ({"gateway": {"proxies": ["10.0.0.1"]}}, "/gateway/proxies/0"),
        ({"gateway": {"sources": ["photos"]}}, "/gateway/sources/0"),
        ({"test": {"source": "s3://images/no-slash"}}, "/test/source"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_and_placed(values: Values, said: str) -> None:
    assert said in refusal(values)


def test_config_takes_each_setting_that_the_chart_does_not_own() -> None:
    assert set(Settings.model_fields) >= OWNED
    properties = yaml.safe_load(make_schema(VALUES))["definitions"]["settings"]["properties"]
    assert set(properties) == set(Settings.model_fields) - OWNED


def test_registries_and_networks_are_taken_as_they_are_written() -> None:
    for registry in ("", "localhost:5000", "registry.example.com/team/sluice"):
        render({"image": {"registry": registry}})
    render({"torchserve": {"service": {"loadBalancerSourceRanges": ["10.0.0.0/8", "2001:db8::/32", "::/0"]}}})


def test_config_becomes_the_environment_of_workers_and_jobs() -> None:
    rendered = render(
        {"config": {"batch": 64, "prefetch_bytes": 1073741824, "poll_seconds": 0.25, "log_level": "debug"}}
    )
    for component in ("producer", "consumer", "gateway", "migrate", "register", "test"):
        env = rendered.pod(component).env()
        assert env["SLUICE_BATCH"] == "64"
        assert env["SLUICE_PREFETCH_BYTES"] == "1073741824"
        assert env["SLUICE_POLL_SECONDS"] == "0.25"
        assert env["SLUICE_LOG_LEVEL"] == "debug"


def test_each_setting_that_a_pod_is_given_exists() -> None:
    known = {f"SLUICE_{name.upper()}" for name in Settings.model_fields}
    for pod in render().pods:
        for container in pod.containers:
            assert {name for name in pod.env(container) if name.startswith("SLUICE_")} <= known


def test_a_parent_chart_may_share_values() -> None:
    render({"global": {"anything": 1}})
