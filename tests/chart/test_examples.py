"""The values in the guides can be installed, and do what the guides say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.chart.kubernetes_schemas import faults
from tests.chart.rendered import ROOT, Rendered, Values, render

EXAMPLES = ROOT / "docs" / "examples"
BASE = "production-eks.yaml"
INSTALLED = {"production-eks.yaml": (BASE,), "production-keda.yaml": (BASE, "production-keda.yaml")}
"""Each example, with the examples that it extends."""
JOB = "build-model-job.yaml"


def merged(*names: str) -> Values:
    """Read values, each file over those before it, as helm does."""
    whole: Values = {}
    for name in names:
        _put_over(whole, yaml.safe_load((EXAMPLES / name).read_text()))
    return whole


def _put_over(below: Values, above: Values) -> None:
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _put_over(below[key], value)
        else:
            below[key] = value


@pytest.fixture
def production() -> Rendered:
    """Return the chart with the production guide's values."""
    return render(merged(BASE))


def test_every_example_is_tried_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.yaml")} == {*INSTALLED, JOB}


def test_the_job_that_builds_a_model_is_one_that_the_chart_lets_out() -> None:
    """It has a trainer's labels, so its policies; names, addresses and versions are the chart's."""
    job = yaml.safe_load((EXAMPLES / JOB).read_text())
    assert faults(job) == []
    trainer = render({"models": {"store": "s3://images/store/"}, "trainer": {"enabled": True}}).pod("trainer")
    template = job["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert template["metadata"]["labels"] == trainer.labels
    assert template["spec"]["serviceAccountName"] == trainer.spec["serviceAccountName"]
    assert container["image"].rpartition("/")[2] == trainer.main["image"]
    told = {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}
    assert told.items() <= trainer.env().items()


@pytest.mark.parametrize("name", INSTALLED)
def test_each_example_renders_to_what_kubernetes_understands(name: str) -> None:
    rendered = render(merged(*INSTALLED[name]))
    assert rendered.resources
    assert [fault for resource in rendered.resources for fault in faults(resource)] == []


def test_production_runs_nothing_of_the_try_out_and_holds_no_password(production: Rendered) -> None:
    assert {pod.component for pod in production.pods} == {
        "producer",
        "consumer",
        "gateway",
        "gateway-test",
        "torchserve",
        "migrate",
        "register",
        "test",
    }
    assert set(production.of("Secret")) == {"sluice-curve", "sluice-gateway"}


def test_torchserve_goes_to_the_nodes_that_the_prerequisites_make(production: Rendered) -> None:
    (group,) = yaml.safe_load((ROOT / "k8s" / "prerequisites" / "gpu-nodes.yaml").read_text())["managedNodeGroups"]
    spec = production.pod("torchserve").spec
    assert spec["nodeSelector"].items() <= group["labels"].items()
    assert [taint["key"] for taint in group["taints"]] == [each["key"] for each in spec["tolerations"]]


def test_the_load_balancer_is_internal_and_lets_in_named_networks(production: Rendered) -> None:
    service = production.get("Service", "sluice-torchserve")
    assert service["metadata"]["annotations"]["service.beta.kubernetes.io/aws-load-balancer-scheme"] == "internal"
    assert service["spec"]["loadBalancerSourceRanges"]


def test_there_are_consumers_enough_for_all_torchserve_pods(production: Rendered) -> None:
    fewest = production.get("HorizontalPodAutoscaler", "sluice-consumer")["spec"]["minReplicas"]
    assert fewest >= production.get("Deployment", "sluice-torchserve")["spec"]["replicas"]


def test_with_keda_no_other_autoscaler_is_left() -> None:
    rendered = render(merged(*INSTALLED["production-keda.yaml"]))
    assert set(rendered.of("ScaledObject")) == {"sluice-consumer"}
    assert rendered.of("HorizontalPodAutoscaler") == {}


def test_the_guide_shows_no_value_that_the_chart_lacks() -> None:
    """YAML blocks in the guides are parts of values: the schema rejects misspelt ones."""
    for guide in ("production", "training", "upgrades"):
        for block in _blocks(ROOT / "docs" / f"{guide}.md"):
            assert render(yaml.safe_load(block)).resources


def _blocks(document: Path) -> list[str]:
    found, inside = [], False
    for line in document.read_text().splitlines():
        if line.strip().startswith("```"):
            inside = line.strip() == "```yaml"
            found += [""] if inside else []
        elif inside:
            found[-1] += f"{line}\n"
    return found
