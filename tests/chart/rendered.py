"""Charts rendered by the real helm, parsed as the resources that Kubernetes would get."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from tools.cluster.folders import ClusterFolders
from tools.cluster.pieces import BuildCache

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "charts" / "sluice"
WORKLOADS: Final = ("Deployment", "StatefulSet", "Job")

Resource = dict[str, Any]
Values = dict[str, Any]

EXTERNAL: Final[Values] = {
    "mysql": {"enabled": False},
    "s3": {"enabled": False},
    "database": {"url": "mysql://me@db.example.com:3307/led", "existingSecret": "mine", "passwordKey": "pw"},
    "objectStore": {"region": "eu-central-1"},
    "gateway": {"store": "s3://photos/sluice/"},
}
PROFILES: Final[dict[str, Values]] = {
    "default": {},
    "external": EXTERNAL,
    "passwords in values": {
        **EXTERNAL,
        "database": {"url": "mysql://me@db.example.com/led", "password": "open-sesame"},
        "objectStore": {"endpoint": "http://minio:9000", "accessKeyId": "AKIA-mine", "secretAccessKey": "hush-hush"},
    },
    "gpu": {"torchserve": {"gpu": {"enabled": True}}},
    "models in S3": {"torchserve": {"modelStore": {"type": "s3", "url": "s3://images/models/"}}},
    "models in a volume": {"torchserve": {"modelStore": {"type": "pvc", "claim": "archives"}}},
    "published models": {"models": {"store": "s3://images/store/"}},
    "published models outside": {**EXTERNAL, "models": {"store": "s3://models/store/"}},
    "trainings by Jobs": {"models": {"store": "s3://images/store/"}, "trainer": {"enabled": True, "kind": "Job"}},
    "everything": {
        "models": {"store": "s3://images/store/"},
        "trainer": {"enabled": True, "keda": {"enabled": True}, "gpu": {"enabled": True}},
        "producer": {"shards": 3},
        "consumer": {"keda": {"enabled": True}},
        "torchserve": {"autoscaling": {"enabled": True}, "gpu": {"enabled": True}},
        "gateway": {
            "url": "https://sluice.example.com",
            "autoscaling": {"enabled": True},
            "ingress": {"enabled": True},
            "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]},
            "oidc": {"issuer": "https://id.example.com/realms/a", "clientId": "sluice", "existingSecret": "oidc"},
        },
        "metrics": {
            "serviceMonitor": {"enabled": True},
            "prometheusRule": {"enabled": True},
            "dashboard": {"enabled": True},
        },
    },
}
"""Values that together enable every template."""


@dataclass(frozen=True)
class RenderedPod:
    """A pod template and its workload."""

    owner: Resource
    labels: dict[str, str]
    spec: Resource

    @property
    def name(self) -> str:
        """Return the name of the workload."""
        return str(self.owner["metadata"]["name"])

    @property
    def component(self) -> str:
        """Return the component that it belongs to."""
        return self.labels["app.kubernetes.io/component"]

    @property
    def containers(self) -> list[Resource]:
        """Return all containers, including init containers."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def main(self) -> Resource:
        """Return the first container that isn't an init container."""
        container: Resource = self.spec["containers"][0]
        return container

    def env(self, container: Resource | None = None) -> dict[str, Any]:
        """Return a container's environment: values, or where they come from."""
        entries = (container or self.main).get("env", [])
        return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in entries}


class Rendered:
    """One rendering."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.resources: list[Resource] = [resource for resource in yaml.load_all(text, yaml.CSafeLoader) if resource]

    def of(self, kind: str) -> dict[str, Resource]:
        """Return the resources of one kind by name."""
        return {r["metadata"]["name"]: r for r in self.resources if r["kind"] == kind}

    def get(self, kind: str, name: str) -> Resource:
        """Return one resource."""
        return self.of(kind)[name]

    @property
    def pods(self) -> Iterator[RenderedPod]:
        """Yield all pod templates."""
        for resource in self.resources:
            if resource["kind"] == "Pod":
                yield RenderedPod(resource, resource["metadata"]["labels"], resource["spec"])
            if resource["kind"] in WORKLOADS:
                template = resource["spec"]["template"]
                yield RenderedPod(resource, template["metadata"]["labels"], template["spec"])
            if resource["kind"] == "CronJob":
                template = resource["spec"]["jobTemplate"]["spec"]["template"]
                yield RenderedPod(resource, template["metadata"]["labels"], template["spec"])

    def pod(self, component: str) -> RenderedPod:
        """Return the pod template of one component."""
        (found,) = [pod for pod in self.pods if pod.component == component]
        return found


def program(name: str) -> Path:
    """Return a program that scripts/cluster built."""
    return BuildCache(ClusterFolders.find().cache).program(name)


def run_helm(*arguments: str, values: Values | None = None) -> subprocess.CompletedProcess[str]:
    """Run helm, with values on its standard input."""
    return subprocess.run(
        [program("helm"), *arguments],
        input=json.dumps(values or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def render(values: Values | None = None, *, release: str = "sluice", namespace: str = "sluice") -> Rendered:
    """Render the chart; the same values are rendered once."""
    return _render(json.dumps(values or {}, sort_keys=True), release, namespace)


def refusal(values: Values) -> str:
    """Return helm's message for values that it rejects."""
    done = run_helm("template", "sluice", str(CHART), "--values", "-", values=values)
    assert done.returncode != 0, "these values should be refused"
    return " ".join(done.stderr.split())


@cache
def _render(values: str, release: str, namespace: str) -> Rendered:
    done = run_helm(
        *("template", release, str(CHART), "--namespace", namespace, "--values", "-"), values=json.loads(values)
    )
    assert done.returncode == 0, done.stderr
    return Rendered(done.stdout)
