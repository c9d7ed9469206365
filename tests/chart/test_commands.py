"""Commands in pods and in texts for people are valid for the programs that they name."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.chart.rendered import CHART, EXTERNAL, PROFILES, ROOT, Rendered, Values, render, run_helm
from tests.support.command_line import understands

MANY_OPTIONS: Values = {"threads": 2, "workers": 2, "options": {"job_queue_size": 64}}


def notes(values: Values) -> str:
    """Return the notes that `helm install` prints."""
    words = ("install", "sluice", str(CHART), "--namespace", "sluice", "--dry-run=client", "--values", "-")
    done = run_helm(*words, values=values)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("NOTES:")[2]


def commands(text: str) -> Iterator[list[str]]:
    """Yield the commands for `sluice` in a text for people."""
    for found in re.findall(r"(?:-- |SLUICE_\w+=\S+ )(sluice [^\n`]*)", text):
        yield shlex.split(found)


def test_each_pod_runs_a_command_that_sluice_has(profile: Rendered) -> None:
    ran = [c["args"] for pod in profile.pods for c in pod.containers if c.get("args", [""])[0] == "sluice"]
    assert ran
    for words in ran:
        understands(words)


def test_producer_and_consumer_are_modules_that_can_be_run(default: Rendered) -> None:
    for component in ("producer", "consumer", "gateway"):
        assert default.pod(component).main["args"] == ["python", "-m", component]
        assert importlib.util.find_spec(f"{component}.__main__")


@pytest.mark.parametrize("values", [{}, MANY_OPTIONS])
def test_torchserve_is_started_as_its_image_wants(values: Values) -> None:
    spec = importlib.util.spec_from_file_location("serve", ROOT / "docker" / "torchserve" / "serve.py")
    assert spec is not None
    assert spec.loader is not None
    serve = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(serve)
    parse: Callable[[list[str]], Any] = serve.parse
    rendered = render({"torchserve": values, "metrics": {"serviceMonitor": {"enabled": True}}})
    read = parse(rendered.pod("torchserve").main["args"])
    assert read.models == "efficientnet-lite0.mar"
    assert str(read.store) == "/models"
    assert read.open_metrics is True


def test_the_probe_knows_what_it_is_asked(default: Rendered) -> None:
    program = (ROOT / "docker" / "torchserve" / "probe.py").read_text()
    container = default.pod("torchserve").main
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert f'"{container[probe]["exec"]["command"][1]}"' in program


@pytest.mark.parametrize(
    "values",
    [
        {},
        EXTERNAL,
        PROFILES["everything"],
        {"consumer": {"autoscaling": {"enabled": True}}, "torchserve": {"service": {"type": "ClusterIP"}}},
        {"torchserve": {"models": [{"name": "a", "version": "1", "archive": "a.mar"}]}},
    ],
)
def test_the_notes_name_what_is_there(values: Values) -> None:
    text, rendered = notes(values), render(values)
    assert "nil" not in text
    assert "<no value>" not in text
    for kind, name in re.findall(r"\b(deploy|sts|svc|secret)[/ ]([a-z][\w-]+)", text):
        long = {"deploy": "Deployment", "sts": "StatefulSet", "svc": "Service", "secret": "Secret"}[kind]
        assert name in rendered.of(long) or (kind, name) == ("secret", "-l"), (kind, name)
    told = list(commands(text))
    assert len(told) >= 3
    for words in told:
        understands(words)


@pytest.mark.parametrize(
    ("keda", "where"),
    [
        ({"enabled": False}, "deploy/sluice-consumer"),
        ({"enabled": True, "minReplicas": 1}, "deploy/sluice-consumer"),
        ({"enabled": True, "minReplicas": 0}, "sts/sluice-producer"),
    ],
)
def test_the_notes_run_commands_where_a_pod_is(keda: Values, where: str) -> None:
    text = notes({**EXTERNAL, "consumer": {"keda": keda}})
    assert set(re.findall(r"exec (?:-it )?(\S+) -- sluice", text)) == {where}


@pytest.mark.parametrize(
    ("service", "warned"),
    [({}, True), ({"loadBalancerSourceRanges": ["10.0.0.0/8"]}, False), ({"type": "ClusterIP"}, False)],
)
def test_the_notes_say_when_everybody_may_ask(service: Values, warned: bool) -> None:  # noqa: FBT001 - a parameter
    text = notes({"torchserve": {"service": service}})
    assert ("Anyone who can reach this address can use TorchServe. Set torchserve.service.loadBal" in text) is warned


def test_the_notes_say_why_a_pod_may_wait_for_a_gpu() -> None:
    text = notes({"torchserve": {"gpu": {"enabled": True, "count": 2, "nodeSelector": {"pool": "gpu"}}}})
    assert 'no node with the labels {"pool":"gpu"} has 2 nvidia.com/gpu available' in text
    assert r".status.allocatable.nvidia\.com/gpu" in text
    assert "GPU" not in notes({})


def test_the_readme_of_plain_manifests_names_commands_that_there_are() -> None:
    told = list(commands((ROOT / "k8s" / "README.md").read_text()))
    assert told
    for words in told:
        understands(words)
