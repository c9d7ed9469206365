"""Nodes with GPUs: which pods go there, and what happens if there are none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kubernetes.client import V1Node

from tests.cluster.releases import CHART, Release, Tools, wait_until

GPU = "nvidia.com/gpu"
VALUES = {
    "torchserve": {
        "models": [{"name": "noop", "version": "1.0", "archive": "noop.mar", "live": True}],
        "gpu": {"enabled": True},
        "resources": {"requests": {"cpu": "50m", "memory": "512Mi"}, "limits": {"cpu": "2", "memory": "4Gi"}},
    },
    "consumer": {"replicas": 1, "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}},
}


@pytest.fixture
def asking(tools: Tools, images: dict[str, object]) -> Iterator[Release]:
    """Return a release that requests a GPU, on a cluster that has none yet."""
    with tools.namespace("sluice-gpu") as namespace, Release(tools, namespace, images, name="gpu") as release:
        yield release


@pytest.fixture
def gpu_node(tools: Tools) -> Iterator[str]:
    """Turn the cluster's node into one of a GPU pool: it advertises a GPU and is tainted."""
    node: V1Node = tools.core.list_node().items[0]
    name = node.metadata.name
    yield name
    tools.core.patch_node(name, {"spec": {"taints": None}})
    tools.run("kubectl", "patch", "node", name, "--subresource=status", "--type=json",
              f'-p=[{{"op":"remove","path":"/status/capacity/{GPU.replace("/", "~1")}"}}]', check=False)  # fmt: skip


def test_torchserve_goes_to_gpu_nodes_only_and_consumers_never(asking: Release, gpu_node: str) -> None:
    """Without a GPU, TorchServe stays pending with an event; with one, only TorchServe goes there."""
    tools = asking.tools
    notes = asking.helm("install", str(CHART), "--set=register.enabled=false", values=VALUES)
    assert "Pending" in notes
    assert GPU in notes
    wait_until(lambda: f"Insufficient {GPU}" in asking.events(), "the scheduler says why")
    assert [pod.status.phase for pod in asking.pods("torchserve")] == ["Pending"]
    # It runs, and isn't ready, because there is no TorchServe.
    wait_until(
        lambda: [pod.status.phase for pod in asking.pods("consumer")] == ["Running"] and not asking.ready("consumer"),
        "a consumer runs on a node without a GPU",
    )

    tools.core.patch_node(gpu_node, {"spec": {"taints": [{"key": GPU, "value": "present", "effect": "NoSchedule"}]}})
    tools.core.patch_node_status(gpu_node, {"status": {"capacity": {GPU: "1"}}})
    wait_until(lambda: asking.ready("torchserve") == 1, "TorchServe is ready on the GPU node")
    assert asking.pods("torchserve")[0].spec.node_name == gpu_node
    tools.run("kubectl", "rollout", "restart", "deploy/gpu-sluice-consumer", f"-n={asking.namespace}")
    wait_until(lambda: "had untolerated taint" in asking.events(), "a new consumer isn't let onto the GPU node")
    pending = [pod for pod in asking.pods("consumer") if pod.spec.node_name is None]
    assert [pod.status.phase for pod in pending] == ["Pending"]
