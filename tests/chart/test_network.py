"""Network policies allow every address that a pod is given, at both ends, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.chart.rendered import EXTERNAL, PROFILES, Rendered, RenderedPod, Resource, render

ADDRESS = re.compile(r"\b(?:tcp|http|https|mysql)://[^\s,\"]+")
LISTENING = re.compile(r"//(0\.0\.0\.0|127\.0\.0\.1)")
DNS = {("UDP", 53), ("TCP", 53)}


def addresses(pod: RenderedPod) -> Iterator[tuple[str, int]]:
    """Yield the hosts and ports that a pod's settings name."""
    for container in pod.containers:
        texts = [*container.get("args", []), *(v for v in pod.env(container).values() if isinstance(v, str))]
        for url in (url for text in texts for url in ADDRESS.findall(text) if not LISTENING.search(url)):
            parts = urlsplit(url)
            assert parts.hostname
            yield parts.hostname, parts.port or {"mysql": 3306, "https": 443}.get(parts.scheme, 80)


def policies(rendered: Rendered, pod: RenderedPod) -> list[Resource]:
    """Return the policies that select a pod."""
    chosen = [p["spec"] for p in rendered.of("NetworkPolicy").values()]
    return [spec for spec in chosen if spec["podSelector"]["matchLabels"].items() <= pod.labels.items()]


def rules(rendered: Rendered, pod: RenderedPod, direction: str) -> list[Resource]:
    """Return the rules for one direction, of all policies for a pod."""
    return [rule for spec in policies(rendered, pod) for rule in spec.get(direction) or []]


def opens(rule: Resource, side: str, other: RenderedPod | None, port: int) -> bool:
    """Return whether a rule allows a pod (None: a host outside the cluster) at a port."""
    if port not in [entry["port"] for entry in rule["ports"]]:
        return False
    if side not in rule:
        return True
    for peer in rule[side]:
        if other is None and "ipBlock" in peer:
            return True
        labels = peer.get("podSelector", {}).get("matchLabels")
        if other is not None and "namespaceSelector" not in peer and labels and labels.items() <= other.labels.items():
            return True
    return False


def target(rendered: Rendered, host: str, port: int) -> tuple[RenderedPod, int] | None:
    """Return the pod, and its port, behind a name of this release; None for another host."""
    if not host.endswith(".sluice.svc"):
        return None
    service = rendered.get("Service", host.split(".")[-3])
    selector = service["spec"]["selector"]
    (pod,) = [pod for pod in rendered.pods if selector.items() <= pod.labels.items()]
    (entry,) = [entry for entry in service["spec"]["ports"] if entry["port"] == port]
    ports = {p["name"]: p["containerPort"] for p in pod.main["ports"]}
    return pod, ports[entry["targetPort"]]


def test_every_pod_is_denied_everything_first(profile: Rendered) -> None:
    for pod in profile.pods:
        chosen = policies(profile, pod)
        assert all(set(spec["policyTypes"]) == {"Ingress", "Egress"} for spec in chosen)
        assert any("ingress" not in spec and "egress" not in spec for spec in chosen), pod.name


def test_each_address_that_a_pod_is_given_is_open_from_both_ends(profile: Rendered) -> None:
    edges = 0
    for pod in profile.pods:
        for host, port in addresses(pod):
            edges += 1
            leaving = rules(profile, pod, "egress")
            found = target(profile, host, port)
            if found is None:
                assert any(opens(rule, "to", None, port) for rule in leaving), (pod.name, host, port)
                continue
            other, inner = found
            assert any(opens(rule, "to", other, inner) for rule in leaving), (pod.name, host, inner)
            coming = rules(profile, other, "ingress")
            assert any(opens(rule, "from", pod, inner) for rule in coming), (pod.name, other.name, inner)
    assert edges >= 7


def test_whoever_resolves_a_name_may_ask_dns(profile: Rendered) -> None:
    for pod in profile.pods:
        open_ports = {(p["protocol"], p["port"]) for rule in rules(profile, pod, "egress") for p in rule["ports"]}
        assert bool(list(addresses(pod))) == (open_ports >= DNS), pod.name


def test_no_edge_is_open_that_nobody_asked_for(default: Rendered) -> None:
    """Between two pods of the release, only addresses in an environment or in arguments are allowed."""
    asked = {
        (pod.component, found[0].component, found[1])
        for pod in default.pods
        for host, port in addresses(pod)
        if (found := target(default, host, port))
    }
    open_edges = {
        (pod.component, other.component, port["port"])
        for pod in default.pods
        for other in default.pods
        for rule in rules(default, pod, "egress")
        for port in rule["ports"]
        if opens(rule, "to", other, port["port"])
    }
    assert open_edges == asked


def test_only_torchserve_answers_somebody_outside(default: Rendered) -> None:
    answering = {
        (pod.component, port["port"])
        for pod in default.pods
        for rule in rules(default, pod, "ingress")
        for port in rule["ports"]
        if opens(rule, "from", None, port["port"])
    }
    assert answering == {("torchserve", 8080)}


def test_nobody_outside_reaches_a_torchserve_with_a_cluster_address() -> None:
    rendered = render({"torchserve": {"service": {"type": "ClusterIP"}}})
    coming = rules(rendered, rendered.pod("torchserve"), "ingress")
    assert not any(opens(rule, "from", None, 8080) for rule in coming)


def test_torchserve_and_the_servers_to_try_out_ask_nobody(default: Rendered) -> None:
    for component in ("torchserve", "mysql", "s3"):
        assert rules(default, default.pod(component), "egress") == []


def test_metrics_are_open_only_where_they_are_read() -> None:
    for on in (False, True):
        rendered = render({"metrics": {"serviceMonitor": {"enabled": on}}})
        ports = {
            (pod.component, port["port"])
            for pod in rendered.pods
            for rule in rules(rendered, pod, "ingress")
            for port in rule["ports"]
        }
        assert (("producer", 9100) in ports) is on
        assert (("consumer", 9100) in ports) is on
        assert (("gateway", 9100) in ports) is on
        assert (("torchserve", 8082) in ports) is on


@pytest.mark.parametrize(
    ("store", "ports"),
    [
        ({"region": "eu-central-1"}, {443, 80}),
        ({"existingSecret": "keys"}, {443}),
        ({"endpoint": "http://minio:9000", "existingSecret": "keys"}, {9000}),
        ({"endpoint": "http://minio", "existingSecret": "keys"}, {80}),
        ({"endpoint": "https://minio/", "existingSecret": "keys"}, {443}),
        ({"endpoint": "http://minio:9000/", "existingSecret": "keys", "role": "arn:aws:iam::1:role/x"}, {9000, 443}),
    ],
)
def test_an_external_s3_is_open_at_its_port_and_a_role_where_it_comes_from(
    store: dict[str, str], ports: set[int]
) -> None:
    rendered = render({**EXTERNAL, "objectStore": store})
    leaving = rules(rendered, rendered.pod("producer"), "egress")
    found = {port["port"] for rule in leaving for port in rule["ports"]} - {53, 3307}
    assert found == ports


def test_keda_may_ask_the_database_to_try_out() -> None:
    rendered = render(PROFILES["everything"])
    keda = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}}
    assert any(keda in rule.get("from", []) for rule in rules(rendered, rendered.pod("mysql"), "ingress"))


def test_the_migration_of_an_external_database_has_its_edge_before_it_runs() -> None:
    policy = render(EXTERNAL).get("NetworkPolicy", "sluice-migrate")
    assert policy["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert int(policy["metadata"]["annotations"]["helm.sh/hook-weight"]) < 0
    assert "hook-failed" in policy["metadata"]["annotations"]["helm.sh/hook-delete-policy"]


def test_the_instance_metadata_is_closed_and_the_agent_of_pod_identity_open() -> None:
    rendered = render(EXTERNAL)
    leaving = rules(rendered, rendered.pod("producer"), "egress")
    blocks = [peer["ipBlock"] for rule in leaving for peer in rule["to"] if "ipBlock" in peer]
    wide = [block for block in blocks if block["cidr"] in {"0.0.0.0/0", "::/0"}]
    assert len(wide) == 4
    for block in wide:
        assert block["except"] == [{"0.0.0.0/0": "169.254.169.254/32", "::/0": "fd00:ec2::254/128"}[block["cidr"]]]
    assert {"cidr": "169.254.170.23/32"} in blocks


def test_they_can_be_switched_off() -> None:
    assert render({"networkPolicy": {"enabled": False}}).of("NetworkPolicy") == {}
