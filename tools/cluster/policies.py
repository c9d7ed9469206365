"""Enforces NetworkPolicies on the single node, so that tests see which connections the chart allows.

    python -m tools.cluster.policies     one of the node's programs, run by tools.cluster.first

For tests only, not a network plugin: it polls the API server for everything once a second, and only supports one node
and IPv4. A policy applies to new connections; established ones continue. A new pod is known, to its own and others'
policies, once its address is in the API. The node itself reaches all its pods, because kubelet's probes must. Rejected
connections are refused immediately, so nobody waits for a timeout.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

from tools.cluster.folders import ClusterFolders

Resource = Mapping[str, Any]
"""As the API server returns it, with defaults."""

CHAIN: Final = "SLUICE-POLICIES"
HOOKS: Final = ("FORWARD", "INPUT")
"""From pods to others, and to the node. Traffic from the node goes through neither."""
DENIED: Final = "0x10000/0x10000"
ALLOWED: Final = "0x0/0x10000"
"""A bit of a packet's mark that kube-proxy doesn't use."""
ENDS: Final = {"Egress": ("to", "-s", "-d"), "Ingress": ("from", "-d", "-s")}
"""A direction's key for peers, and the iptables options for the selected pod and for the peer."""
LISTS: Final = ("/api/v1/namespaces", "/api/v1/pods", "/apis/networking.k8s.io/v1/networkpolicies")
RATE_LIMIT: Final = Path("/proc/sys/net/ipv4/icmp_ratelimit")
"""The node's own limit; with the kernel's default a pod gets a few refusals, and then one a second."""
PAUSE_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class PolicyPod:
    """A pod as policies see it; `around` are its namespace's labels."""

    namespace: str
    around: Mapping[str, str]
    labels: Mapping[str, str]
    address: str
    ports: Mapping[tuple[str, str], int]


def rules(namespaces: Iterable[Resource], pods: Iterable[Resource], policies: Iterable[Resource]) -> str:
    """Return input for iptables-restore from the policies: one chain, replaced as a whole.

    For each direction, packets of pods that a policy selects are marked; each allowed connection clears the mark;
    packets that still have it are rejected. By then kube-proxy has replaced a Service's address by a pod's; it hides
    the sender's address later.
    """
    around = {each["metadata"]["name"]: each["metadata"].get("labels", {}) for each in namespaces}
    known = list(_known(pods, around))
    by_policy = [(policy, [pod for pod in known if _is_chosen(pod, policy["spec"], policy)]) for policy in policies]
    lines = ["-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"]
    for direction, (_, own, other) in ENDS.items():
        about = [(policy, chosen) for policy, chosen in by_policy if direction in policy["spec"]["policyTypes"]]
        isolated = {pod.address: None for _, chosen in about for pod in chosen}
        # A pod reaches itself, also through its Service.
        opened = {f"{own} {address} {other} {address}": None for address in isolated}
        for policy, chosen in about:
            for pod in chosen:
                opened |= {f"{own} {pod.address} {each}": None for each in _opened(policy, direction, pod, known)}
        lines += [f"{own} {address} -j MARK --set-xmark {DENIED}" for address in isolated]
        lines += [f"{each} -j MARK --set-xmark {ALLOWED}" for each in opened]
        # A TCP reset would come from the pod instead of the Service: it leaves another way, without translation.
        lines.append(f"-m mark --mark {DENIED} -j REJECT --reject-with icmp-port-unreachable")
    return "\n".join(["*filter", f":{CHAIN} - [0:0]", *(f"-A {CHAIN} {line}" for line in lines), "COMMIT\n"])


def _known(pods: Iterable[Resource], around: Mapping[str, Mapping[str, str]]) -> Iterator[PolicyPod]:
    """Yield the pods that have an address of their own: not the node's, and not reused by another pod."""
    for pod in pods:
        about, spec, status = pod["metadata"], pod["spec"], pod["status"]
        if spec.get("hostNetwork") or not status.get("podIP") or status["phase"] in {"Succeeded", "Failed"}:
            continue
        entries = (entry for container in spec["containers"] for entry in container.get("ports", []))
        ports = {(entry["name"], entry["protocol"]): entry["containerPort"] for entry in entries if "name" in entry}
        space = about["namespace"]
        yield PolicyPod(space, around.get(space, {}), about.get("labels", {}), status["podIP"], ports)


def _opened(policy: Resource, direction: str, pod: PolicyPod, pods: list[PolicyPod]) -> Iterator[str]:
    """Yield what a policy allows for a selected pod, as matches of the peer and the port."""
    word, _, other = ENDS[direction]
    for rule in policy["spec"].get(direction.lower(), []):
        for network, peer in _peers(rule.get(word), policy, pods):
            for port in _ports(rule.get("ports"), pod if direction == "Ingress" else peer):
                yield f"{other} {network}{port}"


def _peers(
    peers: list[Resource] | None, policy: Resource, pods: list[PolicyPod]
) -> Iterator[tuple[str, PolicyPod | None]]:
    """Yield networks, with the pod if the address is a pod's; without peers, everywhere and each pod."""
    for peer in peers or [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"namespaceSelector": {}}]:
        if "ipBlock" in peer:
            yield from ((str(network), None) for network in _networks(peer["ipBlock"]))
        else:
            yield from ((pod.address, pod) for pod in pods if _is_chosen(pod, peer, policy))


def _networks(block: Resource) -> list[IPv4Network]:
    """Return a block without its exceptions; nothing for IPv6."""
    if ":" in block["cidr"]:
        return []
    left = [IPv4Network(block["cidr"], strict=False)]
    holes = (IPv4Network(each, strict=False) for each in block.get("except", []))
    for hole in sorted(holes, key=lambda each: each.prefixlen):
        left = [part for each in left for part in (each.address_exclude(hole) if hole.subnet_of(each) else [each])]
    return left


def _ports(entries: list[Resource] | None, server: PolicyPod | None) -> Iterator[str]:
    """Yield matches of the ports; the server's pod knows the numbers of named ports."""
    if not entries:
        yield ""
    for entry in entries or []:
        protocol, port = entry["protocol"], entry.get("port")
        if isinstance(port, str):
            port = server.ports.get((port, protocol)) if server else None
            if port is None:
                continue
        last = entry.get("endPort", port)
        yield f" -p {protocol.lower()}" + (f" --dport {port}:{last}" if port else "")


def _is_chosen(pod: PolicyPod, by: Resource, policy: Resource) -> bool:
    """Return whether a peer, or the policy itself, selects a pod; without a namespace selector, in its namespace."""
    spaces = by.get("namespaceSelector")
    near = pod.namespace == policy["metadata"]["namespace"] if spaces is None else _fits(spaces, pod.around)
    return near and _fits(by.get("podSelector", {}), pod.labels)


def _fits(selector: Resource, labels: Mapping[str, str]) -> bool:
    wanted: Mapping[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items() and all(_holds(e, labels) for e in selector.get("matchExpressions", []))


def _holds(expression: Resource, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    match expression["operator"]:
        case "In":
            return value in expression["values"]
        case "NotIn":
            return value not in expression["values"]
        case "Exists":
            return value is not None
    return value is None


def main() -> None:
    """Follow the API server until told to stop."""
    RATE_LIMIT.write_text("0")
    keys = ClusterFolders.find().keys
    context = ssl.create_default_context(cafile=str(keys / "ca.crt"))
    context.load_cert_chain(keys / "admin.crt", keys / "admin.key")
    api = HTTPSConnection("127.0.0.1", 6443, timeout=ANSWER_SECONDS, context=context)
    applied = ""
    while True:
        try:
            wanted = rules(*[_items(api, path) for path in LISTS])
        except (OSError, HTTPException) as error:
            # The API server restarts; the next request connects again.
            print(f"the API server: {error!r}", flush=True)
            api.close()
        else:
            if wanted != applied:
                _apply(wanted)
                applied = wanted
        time.sleep(PAUSE_SECONDS)


def _items(api: HTTPSConnection, path: str) -> list[Resource]:
    api.request("GET", f"{path}?resourceVersion=0")  # from the API server's cache, without asking etcd
    answer = api.getresponse()
    content = answer.read()
    if answer.status != 200:  # noqa: PLR2004 - HTTP's own number
        raise HTTPException(f"{path}: {answer.status}")
    items: list[Resource] = json.loads(content)["items"]
    return items


def _apply(text: str) -> None:
    """Replace the chain atomically, and put it before kube-proxy's chains, which accept some packets."""
    subprocess.run(["iptables-restore", "--noflush", "--wait"], input=text, text=True, check=True)
    for hook in HOOKS:
        jump = [hook, "-j", CHAIN]
        first = subprocess.run(["iptables", "--wait", "-S", hook, "1"], capture_output=True, text=True, check=False)
        if first.stdout.split() != ["-A", *jump]:
            subprocess.run(["iptables", "--wait", "-D", *jump], capture_output=True, check=False)
            subprocess.run(["iptables", "--wait", "-I", *jump], check=True)


if __name__ == "__main__":
    main()
