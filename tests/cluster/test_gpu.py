"""Nodes with GPUs: who goes there, and what is said where there are none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kubernetes.client import V1Node

from tests.cluster.tools import Release, Tools, is_ready, wait_until

GPU = "nvidia.com/gpu"
VALUES = {
    "torchserve": {
        "models": [{"name": "noop", "version": "1.0", "archive": "noop.mar", "live": True}],
        "gpu": {"enabled": True},
        "resources": {"requests": {"cpu": "50m", "memory": "512Mi"}, "limits": {"cpu": "2", "memory": "4Gi"}},
    },
    "consumer": {"replicas": 1, "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}},
    "mysql": {"enabled": True},
}


@pytest.fixture
def asking(tools: Tools, images: dict[str, object]) -> Iterator[Release]:
    """A release that asks for a GPU, on a cluster that has none yet."""
    with tools.namespace("sluice-gpu") as namespace, Release(tools, namespace, images, name="gpu") as release:
        yield release


@pytest.fixture
def gpu_node(tools: Tools) -> Iterator[str]:
    """The cluster's node, made into one of a GPU pool: it advertises a GPU and is tainted."""
    node: V1Node = tools.core.list_node().items[0]
    name = node.metadata.name
    yield name
    tools.core.patch_node(name, {"spec": {"taints": None}})
    tools.run("kubectl", "patch", "node", name, "--subresource=status", "--type=json",
              f'-p=[{{"op":"remove","path":"/status/capacity/{GPU.replace("/", "~1")}"}}]', check=False)  # fmt: skip


def test_torchserve_goes_to_gpu_nodes_only_and_consumers_never(asking: Release, gpu_node: str) -> None:
    """Without a GPU, TorchServe stays pending and is told why; with one, it alone goes there."""
    tools = asking.tools
    notes = asking.helm("install", "charts/sluice", "--set=register.enabled=false", values=VALUES)
    assert "Pending" in notes
    assert GPU in notes
    wait_until(lambda: f"Insufficient {GPU}" in asking.events(), "the scheduler says why")
    wait_until(lambda: asking.pods("consumer") and is_ready_but_for_torchserve(asking), "the consumer says why")
    assert [pod.status.phase for pod in asking.pods("torchserve")] == ["Pending"]
    asking.start_loader()
    job = asking.submit("s3://images/none/", "--watch")
    asking.sql(f"SELECT 1 FROM jobs WHERE id = {job}")

    tools.core.patch_node(gpu_node, {"spec": {"taints": [{"key": GPU, "value": "present", "effect": "NoSchedule"}]}})
    tools.core.patch_node_status(gpu_node, {"status": {"capacity": {GPU: "1"}}})
    wait_until(lambda: asking.ready("torchserve") == 1, "TorchServe is ready on the GPU node")
    assert asking.pods("torchserve")[0].spec.node_name == gpu_node
    tools.run("kubectl", "rollout", "restart", "deploy/gpu-sluice-consumer", f"-n={asking.namespace}")
    wait_until(lambda: "had untolerated taint" in asking.events(), "a new consumer isn't let onto the GPU node")
    pending = [pod for pod in asking.pods("consumer") if pod.spec.node_name is None]
    assert [pod.status.phase for pod in pending] == ["Pending"]


def is_ready_but_for_torchserve(release: Release) -> bool:
    """Say whether a consumer is unready, and names TorchServe as the cause."""
    pod = release.pods("consumer")[0]
    if is_ready(pod) or pod.status.phase != "Running":
        return False
    path = f"/api/v1/namespaces/{release.namespace}/pods/{pod.metadata.name}:9100/proxy/ready"
    told = release.tools.run("kubectl", "get", "--raw", path, check=False)
    return "torchserve" in (told.stdout + told.stderr).lower()
