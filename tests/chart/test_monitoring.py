"""Alerts and the dashboard use metrics that exist, and each alert says what to do."""

from __future__ import annotations

import json
import re

import pytest
from prometheus_client import REGISTRY

from sluice.telemetry import metrics
from tests.chart.rendered import CHART, PROFILES, Rendered, Resource, Values, render

assert metrics.COMMITTED  # importing the module registers the metrics
KNOWN = {sample for family in REGISTRY.collect() for sample in (family.name, f"{family.name}_total")} | {
    f"{family.name}_bucket" for family in REGISTRY.collect() if family.type == "histogram"
}
NAMES = re.compile(r"\b(?:sluice|process)_\w+")
DASHBOARD = json.loads((CHART / "dashboards" / "sluice.json").read_text())
OPTIONAL = ("ServiceMonitor", "PrometheusRule", "ConfigMap")


@pytest.fixture
def everything() -> Rendered:
    """Return the chart with all of monitoring on."""
    return render(PROFILES["everything"])


def alerts(rendered: Rendered) -> list[Resource]:
    """Return the alerts."""
    (group,) = rendered.get("PrometheusRule", "sluice")["spec"]["groups"]
    return list(group["rules"])


def test_nothing_that_needs_an_operator_is_made_unless_asked_for(default: Rendered) -> None:
    assert not [resource for resource in default.resources if resource["kind"] in OPTIONAL]


def test_alerts_ask_for_metrics_that_exist(everything: Rendered) -> None:
    asked = {name for alert in alerts(everything) for name in NAMES.findall(alert["expr"])}
    assert asked
    assert asked <= KNOWN


def test_the_dashboard_shows_metrics_that_exist() -> None:
    asked = {name for panel in DASHBOARD["panels"] for t in panel["targets"] for name in NAMES.findall(t["expr"])}
    assert len(asked) > 10
    assert asked <= KNOWN


def test_alerts_are_about_this_release(everything: Rendered) -> None:
    for alert in alerts(everything):
        selectors = re.findall(r"\{([^}]*)\}", alert["expr"])
        assert selectors
        assert all('namespace="sluice"' in selector and 'pod=~"sluice-' in selector for selector in selectors)


def test_alerts_know_how_many_shards_there_are(everything: Rendered) -> None:
    (alert,) = [alert for alert in alerts(everything) if alert["alert"] == "SluiceShardWithoutProducer"]
    assert alert["expr"].endswith("< 3")


def test_work_that_nobody_asks_for_is_seen_before_any_of_it_is_fetched(everything: Rendered) -> None:
    (alert,) = [alert for alert in alerts(everything) if alert["alert"] == "SluiceWorkWithoutConsumers"]
    assert NAMES.findall(alert["expr"]) == ["sluice_backlog", "sluice_consumers"]


def test_each_alert_says_what_is_so_and_links_to_what_to_do(everything: Rendered) -> None:
    for alert in alerts(everything):
        assert alert["annotations"]["summary"].endswith(".")
        assert alert["annotations"]["runbook_url"] == f"docs/runbook.md#{alert['alert'].lower()}"
        assert alert["labels"]["severity"] in {"warning", "critical"}


def test_work_that_comes_back_is_laid_to_those_whose_work_is_counted(everything: Rendered) -> None:
    """Objects that a drained consumer gives back are counted separately from those of a dead one."""
    (alert,) = [alert for alert in alerts(everything) if alert["alert"] == "SluiceWorkComesBack"]
    assert "sluice_returned" not in alert["expr"]
    assert "drain" not in alert["annotations"]["summary"]
    assert "die" in metrics.REDELIVERED._documentation


def test_the_runbook_can_be_elsewhere() -> None:
    rule = {"enabled": True, "runbook": "https://wiki.example.com/sluice", "labels": {"release": "prometheus"}}
    rendered = render({"metrics": {"serviceMonitor": {"enabled": True}, "prometheusRule": rule}})
    assert alerts(rendered)[0]["annotations"]["runbook_url"].startswith("https://wiki.example.com/sluice#sluice")
    assert rendered.get("PrometheusRule", "sluice")["metadata"]["labels"]["release"] == "prometheus"


def read_by(monitor: Resource, rendered: Rendered) -> list[tuple[Resource, Resource]]:
    """Return the Services that a monitor selects and that have its ports, each with each of those."""
    selector = monitor["spec"]["selector"]["matchLabels"]
    read = [endpoint["port"] for endpoint in monitor["spec"]["endpoints"]]
    return [
        (service, port)
        for service in rendered.of("Service").values()
        if selector.items() <= service["metadata"]["labels"].items()
        for port in service["spec"]["ports"]
        if port["name"] in read
    ]


def test_each_monitor_reads_the_pods_of_one_headless_service(everything: Rendered) -> None:
    """With two Services that have the port, each pod would be counted twice."""
    read = {}
    for name, monitor in everything.of("ServiceMonitor").items():
        found = read_by(monitor, everything)
        (service,) = {service["metadata"]["name"]: service for service, _ in found}.values()
        assert service["spec"]["clusterIP"] == "None"
        (pod,) = [pod for pod in everything.pods if service["spec"]["selector"].items() <= pod.labels.items()]
        inner = {port["name"]: port["containerPort"] for each in pod.containers for port in each["ports"]}
        assert all(inner[port["targetPort"]] == port["port"] for _, port in found)
        read[name] = (service["metadata"]["name"], pod.component, [port["port"] for _, port in found])
    assert read == {
        "sluice-producer": ("sluice-producer", "producer", [9100]),
        "sluice-consumer": ("sluice-consumer", "consumer", [9100]),
        "sluice-gateway": ("sluice-gateway-pods", "gateway", [9100]),
        "sluice-torchserve": ("sluice-torchserve-pods", "torchserve", [8082, 9100]),
        "sluice-trainer": ("sluice-trainer", "trainer", [9100]),
    }


def test_pods_that_are_not_ready_are_read_too(everything: Rendered) -> None:
    for name in ("sluice-producer", "sluice-consumer", "sluice-gateway-pods", "sluice-trainer"):
        assert everything.get("Service", name)["spec"]["publishNotReadyAddresses"] is True


def test_a_monitor_is_as_its_values_say() -> None:
    values = {"enabled": True, "interval": "1m", "labels": {"release": "prometheus"}}
    monitors = render({"metrics": {"serviceMonitor": values}}).of("ServiceMonitor")
    assert len(monitors) == 4
    for monitor in monitors.values():
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        assert monitor["spec"]["endpoints"] == [{"port": "metrics", "path": "/metrics", "interval": "1m"}]


def test_ports_to_read_are_there_only_where_they_are_read(default: Rendered) -> None:
    assert "sluice-consumer" not in default.of("Service")
    ports = default.get("Service", "sluice-torchserve-pods")["spec"]["ports"]
    assert [port["name"] for port in ports] == ["inference"]


@pytest.mark.parametrize("kind", ["LoadBalancer", "ClusterIP", "NodePort"])
def test_people_never_reach_torchserves_metrics(kind: str) -> None:
    values: Values = {"torchserve": {"service": {"type": kind}}, "metrics": {"serviceMonitor": {"enabled": True}}}
    ports = render(values).get("Service", "sluice-torchserve")["spec"]["ports"]
    assert [port["targetPort"] for port in ports] == ["inference"]


def test_torchserve_opens_its_metrics_only_where_they_are_read(default: Rendered, everything: Rendered) -> None:
    assert "--open-metrics" not in default.pod("torchserve").main["args"]
    assert "--open-metrics" in everything.pod("torchserve").main["args"]


def test_the_dashboard_is_found_by_grafana_and_is_whole(everything: Rendered) -> None:
    config = everything.get("ConfigMap", "sluice-dashboard")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(config["data"]["sluice.json"]) == DASHBOARD


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
