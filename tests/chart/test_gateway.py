"""The gateway's pods: what they are told, how people reach them, and how they come and go."""

from __future__ import annotations

import re
from base64 import b64decode

import pytest

from sluice.settings import read_settings
from tests.chart.rendered import EXTERNAL, PROFILES, Rendered, Values, render
from tests.chart.test_commands import notes
from tests.chart.test_network import opens, rules

HOST = "sluice.example.com"
OIDC: Values = {"issuer": "https://id.example.com:8443/realms/a", "clientId": "sluice"}


def test_strangers_may_do_nothing_and_classic_routes_are_off_by_default(default: Rendered) -> None:
    env = default.pod("gateway").env()
    assert env["SLUICE_GATEWAY_ANONYMOUS"] == "none"
    assert env["SLUICE_GATEWAY_CLASSIC"] == "false"
    assert env["SLUICE_GATEWAY_SIGNUP"] == "closed"
    told = {"anonymous": "user", "classic": {"enabled": True}, "signup": "open"}
    env = render({"gateway": told}).pod("gateway").env()
    assert env["SLUICE_GATEWAY_ANONYMOUS"] == "user"
    assert env["SLUICE_GATEWAY_CLASSIC"] == "true"
    assert env["SLUICE_GATEWAY_SIGNUP"] == "open"


def test_the_environment_is_one_that_the_settings_take(profile: Rendered, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in profile.pod("gateway").env().items():
        if name.startswith("SLUICE_"):
            monkeypatch.setenv(name, value if isinstance(value, str) else "1")
    settings = read_settings()
    assert settings.gateway_bind == "0.0.0.0:8000"
    assert settings.metrics_port == 9100
    assert settings.gateway_store
    assert settings.gateway_store.startswith("s3://")
    assert settings.torchserve == ("http://sluice-torchserve-pods.sluice.svc:8080",)


def test_dropped_pictures_go_to_the_try_out_unless_told_where(default: Rendered) -> None:
    assert default.pod("gateway").env()["SLUICE_GATEWAY_STORE"] == "s3://images/sluice/"
    assert render(EXTERNAL).pod("gateway").env()["SLUICE_GATEWAY_STORE"] == "s3://photos/sluice/"


def test_how_long_pictures_are_kept_is_a_value(default: Rendered) -> None:
    assert default.pod("gateway").env()["SLUICE_GATEWAY_KEEP_DAYS"] == "90"
    assert render({"gateway": {"keepDays": 0}}).pod("gateway").env()["SLUICE_GATEWAY_KEEP_DAYS"] == "0"


def test_key_and_password_are_made_once_and_stay(default: Rendered) -> None:
    secret = default.get("Secret", "sluice-gateway")
    assert secret["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert len(b64decode(secret["data"]["key"])) >= 32
    assert len(b64decode(secret["data"]["admin-password"])) >= 16
    env = default.pod("gateway").env()
    assert env["SLUICE_GATEWAY_KEY"] == {"secretKeyRef": {"name": "sluice-gateway", "key": "key"}}
    password = {"secretKeyRef": {"name": "sluice-gateway", "key": "admin-password"}}
    assert env["SLUICE_GATEWAY_ADMIN_PASSWORD"] == password


def test_a_secret_of_ones_own_is_used_and_none_made() -> None:
    rendered = render({"gateway": {"existingSecret": "mine"}})
    assert "sluice-gateway" not in rendered.of("Secret")
    env = rendered.pod("gateway").env()
    assert env["SLUICE_GATEWAY_KEY"]["secretKeyRef"]["name"] == "mine"
    assert env["SLUICE_GATEWAY_ADMIN_PASSWORD"]["secretKeyRef"]["name"] == "mine"


def test_lists_and_addresses_reach_it() -> None:
    told = {
        "url": f"https://{HOST}",
        "admin": "me@example.com",
        "sources": ["s3://a/", "s3://b/c/"],
        "proxies": ["10.0.0.0/8", "fd00::/8"],
    }
    env = render({"gateway": told}).pod("gateway").env()
    assert env["SLUICE_GATEWAY_URL"] == f"https://{HOST}"
    assert env["SLUICE_GATEWAY_ADMIN"] == "me@example.com"
    assert env["SLUICE_GATEWAY_SOURCES"] == "s3://a/,s3://b/c/"
    assert env["SLUICE_GATEWAY_PROXIES"] == "10.0.0.0/8,fd00::/8"


def test_it_asks_an_issuer_only_where_one_is_named(default: Rendered) -> None:
    assert not any("OIDC" in name for name in default.pod("gateway").env())
    assert not any(opens(rule, "to", None, 443) for rule in rules(default, default.pod("gateway"), "egress"))
    rendered = render({"gateway": {"url": f"https://{HOST}", "oidc": {**OIDC, "existingSecret": "oidc"}}})
    env = rendered.pod("gateway").env()
    assert env["SLUICE_GATEWAY_OIDC_ISSUER"] == OIDC["issuer"]
    assert env["SLUICE_GATEWAY_OIDC_CLIENT"] == "sluice"
    assert env["SLUICE_GATEWAY_OIDC_SECRET"] == {"secretKeyRef": {"name": "oidc", "key": "clientSecret"}}
    assert any(opens(rule, "to", None, 8443) for rule in rules(rendered, rendered.pod("gateway"), "egress"))
    public = render({"gateway": {"url": f"https://{HOST}", "oidc": OIDC}})
    assert "SLUICE_GATEWAY_OIDC_SECRET" not in public.pod("gateway").env()


def test_a_new_pod_answers_before_an_old_one_goes(default: Rendered) -> None:
    """The startup probe asks whether it could work; no later outage of what all share takes all pods away."""
    spec = default.get("Deployment", "sluice-gateway")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    container = default.pod("gateway").main
    assert container["startupProbe"]["httpGet"] == {"path": "/ready", "port": "metrics"}
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] >= 900
    assert container["readinessProbe"]["tcpSocket"] == {"port": "http"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/live", "port": "metrics"}


def test_there_is_time_to_leave_the_service_and_to_answer_what_is_under_way() -> None:
    pod = render({"gateway": {"preStopSeconds": 20, "drainSeconds": 40}}).pod("gateway")
    assert pod.main["lifecycle"]["preStop"] == {"sleep": {"seconds": 20}}
    assert pod.env()["SLUICE_DRAIN_SECONDS"] == "40"
    assert pod.spec["terminationGracePeriodSeconds"] == 70
    assert "lifecycle" not in render({"gateway": {"preStopSeconds": 0}}).pod("gateway").main


def test_the_service_leads_to_the_page_and_not_to_metrics(default: Rendered) -> None:
    spec = default.get("Service", "sluice-gateway")["spec"]
    assert spec["type"] == "ClusterIP"
    assert spec["ports"] == [{"name": "http", "port": 80, "targetPort": "http"}]
    assert {"name": "http", "containerPort": 8000} in default.pod("gateway").main["ports"]
    rendered = render(PROFILES["everything"])
    assert [port["targetPort"] for port in rendered.get("Service", "sluice-gateway")["spec"]["ports"]] == ["http"]


@pytest.mark.parametrize(("kind", "is_open"), [("ClusterIP", False), ("LoadBalancer", True), ("NodePort", True)])
def test_outsiders_get_in_only_by_a_service_for_them(kind: str, is_open: bool) -> None:  # noqa: FBT001 - a parameter
    rendered = render({"gateway": {"service": {"type": kind}}})
    coming = rules(rendered, rendered.pod("gateway"), "ingress")
    assert any(opens(rule, "from", None, 8000) for rule in coming) is is_open


def test_an_ingress_leads_to_the_service() -> None:
    told = {
        "url": f"https://{HOST}/",
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "500m"},
            "tls": [{"hosts": [HOST], "secretName": "tls"}],
        },
    }
    ingress = render({"gateway": told}).get("Ingress", "sluice-gateway")
    assert ingress["metadata"]["annotations"] == told["ingress"]["annotations"]  # type: ignore[index]
    assert ingress["spec"]["ingressClassName"] == "nginx"
    assert ingress["spec"]["tls"] == [{"hosts": [HOST], "secretName": "tls"}]
    (rule,) = ingress["spec"]["rules"]
    assert rule["host"] == HOST
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"] == {"name": "sluice-gateway", "port": {"name": "http"}}


def test_an_ingress_has_a_name_of_its_own_or_none() -> None:
    named = {"enabled": True, "host": "other.example.com"}
    rendered = render({"gateway": {"url": f"https://{HOST}", "ingress": named}})
    assert rendered.get("Ingress", "sluice-gateway")["spec"]["rules"][0]["host"] == "other.example.com"
    bare = render({"gateway": {"ingress": {"enabled": True}}}).get("Ingress", "sluice-gateway")["spec"]
    assert "host" not in bare["rules"][0]
    assert "ingressClassName" not in bare


def test_a_route_hangs_on_the_gateways_that_are_named() -> None:
    parents = [{"name": "public", "namespace": "gateways"}]
    told = {"url": f"https://{HOST}:8443", "httpRoute": {"enabled": True, "parentRefs": parents}}
    spec = render({"gateway": told}).get("HTTPRoute", "sluice-gateway")["spec"]
    assert spec["parentRefs"] == parents
    assert spec["hostnames"] == [HOST]
    assert spec["rules"][0]["backendRefs"] == [{"name": "sluice-gateway", "port": 80}]


def test_nothing_leads_in_unless_asked_for(default: Rendered) -> None:
    assert default.of("Ingress") == {}
    assert default.of("HTTPRoute") == {}


def test_helm_test_asks_it_by_the_name_that_it_answers_to() -> None:
    pod = render({"gateway": {"url": f"https://{HOST}:8443"}}).pod("gateway-test")
    assert pod.main["args"][:2] == ["python", "-c"]
    compile(pod.main["args"][2], "gateway-test", "exec")
    assert pod.main["args"][3:] == ["http://sluice-gateway.sluice.svc:80", f"{HOST}:8443"]
    annotations = pod.owner["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == "test"
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"


def test_the_notes_say_where_the_page_is_and_how_to_read_the_password() -> None:
    text = notes({"gateway": {"existingSecret": "mine"}, "mysql": {"existingSecret": "x"}})
    assert "port-forward svc/sluice-gateway 8000:80" in text
    assert re.search(r"get secret mine -o jsonpath='\{\.data\.admin-password\}' \| base64 -d", text)
    assert "Sign in as admin@localhost" in text
    assert "Anyone who can reach the page" not in text
    assert "Anyone who can reach the page" in notes({"gateway": {"anonymous": "user"}})
    assert f"Open the page, https://{HOST}." in notes({"gateway": {"url": f"https://{HOST}"}})
    assert "page" not in notes({"gateway": {"enabled": False}})


def test_it_can_be_left_out() -> None:
    rendered = render({**PROFILES["everything"], "gateway": {"enabled": False}})
    assert not [r for r in rendered.resources if "gateway" in r["metadata"]["name"]]
    assert "SluiceGateway" not in rendered.text
