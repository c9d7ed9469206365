"""Replicas, autoscalers, disruption budgets and scheduling."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sluice.ledger import progress
from tests.chart.rendered import EXTERNAL, Rendered, Values, render

COMPONENTS = ("consumer", "gateway", "torchserve")


def flat(sql: str) -> str:
    """Return SQL with single spaces."""
    return " ".join(sql.split())


@pytest.mark.parametrize("component", COMPONENTS)
def test_replicas_are_set_while_no_autoscaler_is_on(component: str) -> None:
    rendered = render({component: {"replicas": 7}})
    assert rendered.get("Deployment", f"sluice-{component}")["spec"]["replicas"] == 7
    assert rendered.of("HorizontalPodAutoscaler") == {}


@pytest.mark.parametrize("component", COMPONENTS)
def test_an_hpa_owns_the_replicas(component: str) -> None:
    rendered = render({component: {"autoscaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 5}}})
    assert "replicas" not in rendered.get("Deployment", f"sluice-{component}")["spec"]
    spec = rendered.get("HorizontalPodAutoscaler", f"sluice-{component}")["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"sluice-{component}"}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 5)
    (metric,) = spec["metrics"]
    assert metric["resource"]["name"] == "cpu"
    behavior = spec["behavior"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0, "up at once"
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] >= 300, "down slowly"


def test_an_hpa_goes_by_any_metric() -> None:
    metric = {
        "type": "Pods",
        "pods": {"metric": {"name": "gpu"}, "target": {"type": "AverageValue", "averageValue": 1}},
    }
    autoscaling = {"enabled": True, "targetCPUUtilizationPercentage": 0, "metrics": [metric]}
    rendered = render({"torchserve": {"autoscaling": autoscaling}})
    assert rendered.get("HorizontalPodAutoscaler", "sluice-torchserve")["spec"]["metrics"] == [metric]


@pytest.fixture
def keda() -> Rendered:
    """Return the chart with KEDA on an external database."""
    return render({**EXTERNAL, "consumer": {"keda": {"enabled": True, "backlogPerReplica": 5_000_000}}})


def test_keda_owns_the_replicas_and_may_take_all(keda: Rendered) -> None:
    assert "replicas" not in keda.get("Deployment", "sluice-consumer")["spec"]
    assert keda.of("HorizontalPodAutoscaler") == {}
    spec = keda.get("ScaledObject", "sluice-consumer")["spec"]
    assert spec["scaleTargetRef"] == {"name": "sluice-consumer"}
    assert spec["minReplicaCount"] == 0


def test_keda_asks_what_the_ledger_calls_the_backlog(keda: Rendered) -> None:
    """Pending includes leased objects, so that no working consumer is removed."""
    (trigger,) = keda.get("ScaledObject", "sluice-consumer")["spec"]["triggers"]
    source = flat(Path(progress.__file__).read_text())
    assert f'"{trigger["metadata"]["query"]}"' in source
    assert trigger["metricType"] == "AverageValue"
    assert trigger["metadata"]["queryValue"] == "5000000"


def test_keda_reaches_the_database_that_the_consumers_use(keda: Rendered) -> None:
    (trigger,) = keda.get("ScaledObject", "sluice-consumer")["spec"]["triggers"]
    metadata = trigger["metadata"]
    assert (metadata["host"], metadata["port"], metadata["dbName"], metadata["username"]) == (
        *("db.example.com", "3307", "led", "me"),
    )
    authentication = keda.get("TriggerAuthentication", trigger["authenticationRef"]["name"])
    assert authentication["spec"]["secretTargetRef"] == [{"parameter": "password", "name": "mine", "key": "pw"}]


def test_keda_takes_a_connection_of_its_own() -> None:
    rendered = render({"consumer": {"keda": {"enabled": True, "connectionSecret": "dsn"}}})
    (trigger,) = rendered.get("ScaledObject", "sluice-consumer")["spec"]["triggers"]
    assert not {"host", "username"} & set(trigger["metadata"])
    authentication = rendered.get("TriggerAuthentication", "sluice-consumer")
    assert authentication["spec"]["secretTargetRef"][0]["name"] == "dsn"


@pytest.mark.parametrize("component", ["producer", *COMPONENTS])
def test_a_drain_takes_few_at_once_and_waits_for_none_that_is_broken(component: str) -> None:
    rendered = render()
    budget = rendered.get("PodDisruptionBudget", f"sluice-{component}")["spec"]
    assert budget["selector"]["matchLabels"].items() <= rendered.pod(component).labels.items()
    assert budget["maxUnavailable"] in {1, "25%"}, "minAvailable would hold up the drain of a single pod's node"
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    off = render({component: {"pdb": {"enabled": False}}})
    assert f"sluice-{component}" not in off.of("PodDisruptionBudget")


@pytest.mark.parametrize("component", ["producer", *COMPONENTS])
def test_pods_spread_over_nodes_and_zones_where_they_can(component: str) -> None:
    pod = render().pod(component)
    spread = pod.spec["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    for each in spread:
        assert each["whenUnsatisfiable"] == "ScheduleAnyway"
        assert each["labelSelector"]["matchLabels"].items() <= pod.labels.items()


@pytest.mark.parametrize("component", ["producer", *COMPONENTS, "mysql", "s3"])
def test_where_pods_go_is_a_value(component: str) -> None:
    where: Values = {
        "nodeSelector": {"pool": "x"},
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "podLabels": {"team": "a"},
        "podAnnotations": {"note": "b"},
    }
    rendered = render({component: where})
    pod = rendered.pod(component)
    for name in ("nodeSelector", "tolerations", "affinity", "priorityClassName"):
        assert pod.spec[name] == where[name]
    assert pod.labels["team"] == "a"
    assert pod.owner["spec"]["template"]["metadata"]["annotations"]["note"] == "b"


@pytest.mark.parametrize("component", ["producer", *COMPONENTS])
def test_resources_are_values(component: str) -> None:
    resources = {"requests": {"cpu": "3", "memory": "1Gi"}, "limits": {"cpu": "4", "memory": "2Gi"}}
    assert render({component: {"resources": resources}}).pod(component).main["resources"] == resources


def test_no_default_request_is_larger_than_a_small_node_has() -> None:
    """The whole try-out must fit on two cores, next to what a cluster needs for itself."""

    def millicores(quantity: object) -> int:
        text = str(quantity)
        return int(text[:-1]) if re.fullmatch(r"\d+m", text) else int(float(text) * 1000)

    beside, passing = 0, [0]
    for pod in render().pods:
        wanted = millicores(pod.main["resources"]["requests"]["cpu"])
        if pod.owner["kind"] in {"Job", "Pod"}:
            passing.append(wanted)
        else:
            beside += int(pod.owner["spec"].get("replicas", 1)) * wanted
    # Jobs and the pods of `helm test` run one after the other.
    assert beside + max(passing) <= 1500
