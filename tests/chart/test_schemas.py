"""Kubernetes and the operators know every field of every resource."""

from __future__ import annotations

import pytest

from tests.chart.kubernetes_schemas import faults
from tests.chart.rendered import PROFILES, Rendered, Values, render

UNUSUAL: Values = {
    "commonLabels": {"team": "a"},
    "imagePullSecrets": [{"name": "pull"}],
    "consumer": {
        "autoscaling": {"enabled": True},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}],
    },
    "torchserve": {
        "service": {"loadBalancerClass": "x", "loadBalancerSourceRanges": ["10.0.0.0/8"], "annotations": {"a": "b"}},
        "strategy": {"type": "Recreate"},
        "gpu": {"enabled": True, "runtimeClassName": "nvidia", "nodeSelector": {"pool": "gpu"}},
    },
    "serviceAccount": {"annotations": {"a": "b"}},
    "mysql": {"args": ["--max-connections=500"], "storage": {"className": "gp3"}},
    "s3": {"sidecar": True},
}


def test_kubernetes_understands_every_field(profile: Rendered) -> None:
    assert [fault for resource in profile.resources for fault in faults(resource)] == []


def test_it_understands_what_unusual_values_make() -> None:
    assert [fault for resource in render(UNUSUAL).resources for fault in faults(resource)] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"replicas": "two"}, "Deployment.spec.replicas: 'two' is no integer"),
        ({"replica": 2}, "Deployment.spec: replica is unknown"),
        ({"template": {"spec": {"containers": [{}]}}}, "Deployment.spec.template.spec.containers[0]: name is missing"),
    ],
)
def test_a_fault_would_be_seen(change: Values, said: str) -> None:
    deployment = render().get("Deployment", "sluice-consumer")
    assert said in faults({**deployment, "spec": {**deployment["spec"], **change}})


def test_a_fault_would_be_seen_in_an_operators_resource_too() -> None:
    scaled = render(PROFILES["everything"]).get("ScaledObject", "sluice-consumer")
    assert faults({**scaled, "spec": {**scaled["spec"], "maxReplicas": 3}}) == [
        "ScaledObject.spec: maxReplicas is unknown"
    ]
