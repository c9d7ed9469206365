"""The network policies while something enforces them: needed connections work, and no others.

On the throwaway cluster tools/cluster/policies.py enforces them; on another its network plugin must, or this fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from kubernetes.client import V1Pod

from tests.cluster.load import Asking
from tests.cluster.releases import COMPONENT, INSTANCE, NAME, Release, wait_until

PORTS = {
    "mysql": {"mysql": 3306},
    "s3": {"s3": 7070},
    "producer": {"producer": 5600, "producer's metrics": 9100},
    "consumer": {"consumer's metrics": 9100},
    "gateway": {"gateway": 8000, "gateway's metrics": 9100},
    "torchserve": {
        "torchserve": 8080,
        "torchserve's management": 8081,
        "torchserve's metrics": 8082,
        "agent's metrics": 9100,
    },
}
OPEN = {
    "producer": {"mysql", "s3", "names"},
    "consumer": {"mysql", "s3", "names", "producer", "torchserve"},
    "gateway": {"mysql", "s3", "names", "torchserve"},
    "test": {"mysql", "s3", "names"},
    "torchserve": {"mysql", "s3", "names"},
    "trainer": {"mysql", "s3", "names"},
    "mysql": set[str](),
    "s3": set[str](),
    # No policy restricts it. TorchServe has a load balancer, and is open to all; an Ingress may be in any namespace.
    "stranger": {"names", "torchserve", "gateway", "kubernetes"},
}
"""Each client, and the servers that it reaches."""
LOOPBACK = {"torchserve's management", "torchserve's metrics"}


@pytest.fixture(scope="module")
def stranger(shared: Release) -> Iterator[V1Pod]:
    """Return a pod of another namespace that has a consumer's labels."""
    labels = {NAME: "sluice", INSTANCE: shared.name, COMPONENT: "consumer"}
    with shared.tools.namespace("sluice-stranger") as namespace:
        yield shared.tools.start_sleeper(namespace, "stranger", labels, shared.pods("consumer")[0].spec)


@pytest.fixture(scope="module")
def trainer(shared: Release) -> Iterator[None]:
    """Have a pod with a trainer's labels, which is what policies select; a trainer itself would only start slower."""
    labels = {NAME: "sluice", INSTANCE: shared.name, COMPONENT: "trainer"}
    pod = shared.tools.start_sleeper(shared.namespace, "knocker", labels, shared.pods("consumer")[0].spec)
    yield
    shared.tools.core.delete_namespaced_pod(pod.metadata.name, shared.namespace, grace_period_seconds=0)


def test_the_system_works_behind_its_policies(release: Release) -> None:
    """An image goes through S3 to its row, and TorchServe answers at the load balancer."""
    release.run("sluice", "selftest", "s3://images/edges/")
    with Asking(release) as asking:
        wait_until(lambda: asking.answers or asking.failures, "an answer")
    assert asking.failures == []


@pytest.mark.usefixtures("trainer")
def test_exactly_the_named_edges_are_open(release: Release, stranger: V1Pod) -> None:
    """From each kind of pod to each port of the others: a server that is closed to one is open to another."""
    assert reached(release, stranger) == OPEN
    for component in ("producer", "consumer", "gateway"):
        assert release.metrics(release.pods(component)[-1].metadata.name), "closed to pods; the node may read them"


@pytest.mark.usefixtures("trainer")
def test_it_is_the_policies_that_close(changeable: Release, stranger: V1Pod) -> None:
    """Without them, every pod reaches everything that isn't on loopback."""
    changeable.tools.run("kubectl", "delete", "networkpolicies", "--all", f"--namespace={changeable.namespace}")
    everything = {name for ports in PORTS.values() for name in ports} | {"names", "kubernetes"}
    for name, found in reached(changeable, stranger).items():
        own = set(PORTS.get(name, {})) - {"consumer's metrics"}  # there are two consumers
        assert found >= everything - LOOPBACK - own, name


def reached(release: Release, stranger: V1Pod) -> dict[str, set[str]]:
    """Return what each kind of pod can connect to."""
    pods = {name: release.pods(name) for name in OPEN if name != "stranger"} | {"stranger": [stranger]}
    targets = {
        f"{pods[component][-1].status.pod_ip} {port}": name
        for component, ports in PORTS.items()
        for name, port in ports.items()
    }
    for name, service in (("kubernetes", ("kubernetes", "default")), ("names", ("kube-dns", "kube-system"))):
        found = release.tools.core.read_namespaced_service(*service).spec
        tcp = next(entry.port for entry in found.ports if entry.protocol == "TCP")
        targets[f"{found.cluster_ip} {tcp}"] = name
    with ThreadPoolExecutor(len(pods)) as threads:
        answers = list(threads.map(lambda some: knock(release, some[0], targets), pods.values()))
    return {name: {targets[each] for each in opened} for name, opened in zip(pods, answers, strict=True)}


def knock(release: Release, asking: V1Pod, targets: Iterable[str]) -> list[str]:
    """Return the addresses and ports that a pod can connect to; its own it reaches whatever policies say."""
    about = asking.metadata
    targets = [target for target in targets if not target.startswith(f"{asking.status.pod_ip} ")]
    within = ["kubectl", "exec", about.name, f"--namespace={about.namespace}", "--"]
    return release.tools.run(*within, "bash", "-c", KNOCK, "knock", *targets).stdout.splitlines()


KNOCK = """\
for target; do
    timeout 5 bash -c "</dev/tcp/${target/ //}" 2>/dev/null && echo "$target" &
done
wait
"""
