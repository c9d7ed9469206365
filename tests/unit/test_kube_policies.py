"""The rules generated for network policies, evaluated as the kernel would."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from tools.cluster.policies import ALLOWED, CHAIN, DENIED, rules

WEB, DATA, STRANGER, OUTSIDE, NODE = "10.244.0.11", "10.244.0.12", "10.244.0.13", "203.0.113.9", "10.244.0.1"
NAMESPACES: list[dict[str, Any]] = [
    {"metadata": {"name": "shop", "labels": {"team": "shop"}}},
    {"metadata": {"name": "other", "labels": {"team": "other"}}},
    {"metadata": {"name": "bare"}},
]


def pod(address: str, namespace: str = "shop", *, phase: str = "Running", **labels: str) -> dict[str, Any]:
    """Return a pod with a named port."""
    ports = [
        {"containerPort": 3306, "name": "sql", "protocol": "TCP"},
        {"containerPort": 5353, "name": "names", "protocol": "UDP"},
        {"containerPort": 9100, "protocol": "TCP"},
    ]
    return {
        "metadata": {"namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "main", "ports": ports}, {"name": "second"}]},
        "status": {"phase": phase, "podIP": address},
    }


PODS = [pod(WEB, app="web"), pod(DATA, app="data", tier="back"), pod(STRANGER, "other", app="web")]


def policy(selector: dict[str, Any], namespace: str = "shop", **directions: list[Any]) -> dict[str, Any]:
    """Return a policy for the given directions."""
    types = [name.capitalize() for name in directions]
    return {"metadata": {"namespace": namespace}, "spec": {"podSelector": selector, "policyTypes": types, **directions}}


def made(*policies: dict[str, Any]) -> str:
    """Return the rules for the pods above."""
    return rules(NAMESPACES, PODS, policies)


def passes(text: str, source: str, target: str, port: int = 3306, protocol: str = "tcp", state: str = "NEW") -> bool:
    """Return whether a packet passes the chain."""
    marked = False
    for line in text.splitlines():
        if not line.startswith(f"-A {CHAIN} "):
            continue
        words = line.split()[2:]
        has = dict(zip(words[::2], words[1::2], strict=True))
        first, _, last = has.get("--dport", "0:65535").partition(":")
        if (
            ip_address(source) not in ip_network(has.get("-s", "0.0.0.0/0"))
            or ip_address(target) not in ip_network(has.get("-d", "0.0.0.0/0"))
            or has.get("-p", protocol) != protocol
            or not int(first) <= port <= int(last)
            or state not in has.get("--ctstate", state).split(",")
            or has.get("--mark", DENIED if marked else "") != (DENIED if marked else "")
        ):
            continue
        match has["-j"]:
            case "MARK":
                marked = {DENIED: True, ALLOWED: False}[has["--set-xmark"]]
            case "REJECT":
                return False
            case "RETURN":
                return True
    return True


def reached(text: str, target: str = DATA, port: int = 3306, protocol: str = "tcp") -> set[str]:
    """Return who reaches a pod."""
    return {each for each in (WEB, DATA, STRANGER, OUTSIDE, NODE) if passes(text, each, target, port, protocol)} - {
        target
    }


EVERYBODY = {WEB, STRANGER, OUTSIDE, NODE}
DATA_ONLY = {"matchLabels": {"app": "data"}}
FROM_WEB = {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}


def test_without_policies_everything_is_open() -> None:
    assert reached(made()) == EVERYBODY


def test_a_chosen_pod_is_denied_and_others_are_not() -> None:
    text = made(policy(DATA_ONLY, ingress=[]))
    assert reached(text) == set()
    assert WEB in reached(text, STRANGER)
    assert passes(text, DATA, OUTSIDE)


def test_a_direction_without_rules_is_closed_and_the_other_is_not() -> None:
    text = made(policy(DATA_ONLY, egress=[]))
    assert reached(text) == EVERYBODY
    assert not any(passes(text, DATA, each) for each in (WEB, OUTSIDE, NODE))
    assert not passes(text, DATA, OUTSIDE, 53, "udp")


def test_what_is_established_goes_on() -> None:
    text = made(policy({}, ingress=[], egress=[]))
    assert passes(text, DATA, WEB, state="ESTABLISHED")
    assert not passes(text, DATA, WEB)


def test_a_pod_always_reaches_itself() -> None:
    assert passes(made(policy({}, ingress=[], egress=[])), DATA, DATA)


def test_both_ends_must_agree() -> None:
    closed = policy({}, ingress=[], egress=[])
    leaves = policy({"matchLabels": {"app": "web"}}, egress=[{"to": [{"podSelector": DATA_ONLY}]}])
    comes = policy(DATA_ONLY, ingress=[FROM_WEB])
    assert not passes(made(closed, leaves), WEB, DATA)
    assert not passes(made(closed, comes), WEB, DATA)
    text = made(closed, leaves, comes)
    assert passes(text, WEB, DATA)
    assert not passes(text, DATA, WEB)


def test_policies_add_up_in_any_order() -> None:
    several = [
        policy(DATA_ONLY, ingress=[FROM_WEB]),
        policy({}, ingress=[]),
        policy(DATA_ONLY, ingress=[{"from": [{"ipBlock": {"cidr": "203.0.113.0/24"}}]}]),
    ]
    for given in (several, several[::-1]):
        assert reached(made(*given)) == {WEB, OUTSIDE}


@pytest.mark.parametrize(
    ("peer", "let_in"),
    [
        ({"podSelector": {"matchLabels": {"app": "web"}}}, {WEB}),
        ({"podSelector": {}}, {WEB}),
        ({"namespaceSelector": {"matchLabels": {"team": "other"}}}, {STRANGER}),
        ({"namespaceSelector": {}}, {WEB, STRANGER}),
        ({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "web"}}}, {WEB, STRANGER}),
        ({"namespaceSelector": {"matchLabels": {"team": "other"}}, "podSelector": DATA_ONLY}, set()),
        ({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.244.0.0/16"]}}, {OUTSIDE}),
        ({"ipBlock": {"cidr": "10.244.0.0/24", "except": ["10.244.0.11/32", "10.244.0.8/29"]}}, {NODE}),
        ({"ipBlock": {"cidr": "203.0.113.9/32"}}, {OUTSIDE}),
        ({"ipBlock": {"cidr": "::/0", "except": ["fd00::/8"]}}, set()),
    ],
)
def test_a_peer_is_pods_or_a_block(peer: dict[str, Any], let_in: set[str]) -> None:
    assert reached(made(policy(DATA_ONLY, ingress=[{"from": [peer]}]))) == let_in


def test_peers_of_one_rule_are_alternatives_and_none_means_everybody() -> None:
    both = [{"podSelector": {}}, {"ipBlock": {"cidr": "203.0.113.0/24"}}]
    assert reached(made(policy(DATA_ONLY, ingress=[{"from": both}]))) == {WEB, OUTSIDE}
    assert reached(made(policy(DATA_ONLY, ingress=[{}]))) == EVERYBODY


@pytest.mark.parametrize(
    ("expression", "fits"),
    [
        ({"key": "app", "operator": "In", "values": ["data", "web"]}, {WEB, DATA}),
        ({"key": "app", "operator": "NotIn", "values": ["web"]}, {DATA}),
        ({"key": "tier", "operator": "NotIn", "values": ["front"]}, {WEB, DATA}),
        ({"key": "tier", "operator": "Exists"}, {DATA}),
        ({"key": "tier", "operator": "DoesNotExist"}, {WEB}),
    ],
)
def test_expressions_choose_pods(expression: dict[str, Any], fits: set[str]) -> None:
    text = made(policy({"matchExpressions": [expression]}, ingress=[]))
    assert {each for each in (WEB, DATA, STRANGER) if not passes(text, OUTSIDE, each)} == fits


@pytest.mark.parametrize(
    ("entry", "tcp", "udp"),
    [
        ({"protocol": "TCP", "port": 3306}, {3306}, set()),
        ({"protocol": "TCP", "port": "sql"}, {3306}, set()),
        ({"protocol": "UDP", "port": "names"}, set(), {5353}),
        ({"protocol": "TCP", "port": "names"}, set(), set()),
        ({"protocol": "TCP", "port": 3306, "endPort": 5353}, {3306, 5353}, set()),
        ({"protocol": "UDP", "port": 3307, "endPort": 5353}, set(), {5353}),
        ({"protocol": "UDP"}, set(), {3306, 5353, 9100}),
    ],
)
@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_a_port_is_a_number_a_name_a_range_or_all(
    direction: str, entry: dict[str, Any], tcp: set[int], udp: set[int]
) -> None:
    """A name is looked up at the server's end, also without peers."""
    chosen = DATA_ONLY if direction == "ingress" else {"matchLabels": {"app": "web"}}
    for rule in ({"ports": [entry]}, {"ports": [entry], "from": [{"podSelector": {}}], "to": [{"podSelector": {}}]}):
        text = made(policy(chosen, "shop", **{direction: [rule]}))
        for protocol, numbers in (("tcp", tcp), ("udp", udp)):
            assert {each for each in (3306, 5353, 9100) if passes(text, WEB, DATA, each, protocol)} == numbers


def test_a_name_of_a_port_means_nothing_outside_the_cluster() -> None:
    anywhere = {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"protocol": "TCP", "port": "sql"}]}
    assert not passes(made(policy({}, egress=[anywhere])), WEB, OUTSIDE)


def test_a_policy_is_for_its_own_namespace() -> None:
    text = made(policy({}, "bare", ingress=[]))
    assert reached(text) == EVERYBODY


def test_pods_of_the_node_and_those_that_have_ended_are_left_out() -> None:
    """The address of an ended pod may have been reused."""
    on_node = {**pod(NODE, app="web"), "spec": {"hostNetwork": True, "containers": []}}
    ended = pod(STRANGER, app="web", phase="Succeeded")
    young: dict[str, Any] = {**pod("", app="web"), "status": {"phase": "Pending"}}
    text = rules(
        NAMESPACES, [pod(DATA, app="data"), on_node, ended, young], [policy({}, ingress=[FROM_WEB], egress=[])]
    )
    assert reached(text) == set()
    assert passes(text, STRANGER, OUTSIDE)
    assert passes(text, NODE, OUTSIDE)


def test_equal_lists_make_equal_text() -> None:
    given = [policy({}, ingress=[FROM_WEB]), policy({}, ingress=[FROM_WEB])]
    text = made(*given)
    assert text == made(*given)
    lines = [line for line in text.splitlines() if "REJECT" not in line]
    assert len(set(lines)) == len(lines)
