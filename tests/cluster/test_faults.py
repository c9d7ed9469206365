"""Pods die, the database restarts, the node is drained; jobs finish by themselves, with one row per object."""

from __future__ import annotations

import random
import subprocess

from kubernetes.client import ApiException

from tests.cluster.load import Load
from tests.cluster.releases import COMPONENT, INSTANCE, Release, wait_until

SEED = 4
DELETIONS = 30
AT_ONCE = 5
KINDS = ("consumer", "consumer", "consumer", "producer", "torchserve", "mysql", "s3")


def test_random_deletions_lose_nothing(release: Release, photos: str) -> None:
    """30 pods of every kind are deleted, half of them without a grace period."""
    chance = random.Random(SEED)
    with Load(release, photos) as load:
        for number in range(DELETIONS):
            if number % AT_ONCE == 0:
                before = load.done
                wait_until(lambda before=before: load.done > before, "work goes on")  # type: ignore[misc]
            kind = chance.choice(KINDS)
            wait_until(lambda kind=kind: release.pods(kind), f"a pod of {kind}")  # type: ignore[misc]
            pod = chance.choice(release.pods(kind))
            delete(release, pod.metadata.name, force=number % 2 == 0)
    load.check()


def test_a_database_restart_and_a_drained_node_lose_nothing(release: Release, photos: str) -> None:
    """The database restarts, then the node is drained as far as budgets allow, and comes back."""
    with Load(release, photos) as load:
        wait_until(lambda: load.done, "work is under way")
        release.tools.run("kubectl", "rollout", "restart", "statefulset/sluice-mysql", f"-n={release.namespace}")
        release.tools.run("kubectl", "rollout", "status", "statefulset/sluice-mysql", f"-n={release.namespace}")
        drain(release)
    load.check()


def drain(release: Release) -> None:
    """Drain the only node of the release's pods, and uncordon it."""
    node = release.pods("consumer")[0].spec.node_name
    # The loader isn't part of the release: it stays, which the drain may report as an error.
    draining = subprocess.Popen(
        ["kubectl", "drain", node, "--delete-emptydir-data", "--timeout=300s",
         f"--pod-selector={INSTANCE}={release.name},{COMPONENT}!=test"],
        env=release.tools.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: release.ready("torchserve") == 0, "TorchServe is evicted")
    finally:
        release.tools.run("kubectl", "uncordon", node)
    assert draining.wait(300) == 0, draining.stdout and draining.stdout.read()


def delete(release: Release, pod: str, *, force: bool) -> None:
    """Delete a pod; it may be gone already."""
    try:
        release.tools.core.delete_namespaced_pod(pod, release.namespace, grace_period_seconds=0 if force else None)
    except ApiException as error:
        if error.status != 404:
            raise
