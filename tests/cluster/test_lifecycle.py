"""Installs into an empty namespace, uninstalls, and deploys again; what fails its test is taken back."""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.releases import CHART, Release, Tools, wait_until
from tests.cluster.values import SHARED

VALUES = {
    **SHARED,
    # Nobody asks while pods end.
    "torchserve": {**SHARED["torchserve"], "preStopSeconds": 0},
    "gateway": {**SHARED["gateway"], "preStopSeconds": 0},
}
KINDS = "deploy,statefulset,job,pod,service,secret,configmap,pvc,hpa,pdb,networkpolicy,serviceaccount,role,rolebinding"
DATA = {
    "persistentvolumeclaim/data-sluice-mysql-0",
    "persistentvolumeclaim/data-sluice-s3-0",
    "secret/sluice-mysql",
    "secret/sluice-gateway",
}
CLUSTERS_OWN = {"configmap/kube-root-ca.crt", "serviceaccount/default"}


@pytest.fixture
def alone(tools: Tools, images: dict[str, object]) -> Iterator[Release]:
    """Return a release in its own namespace."""
    with tools.namespace("sluice-lifecycle") as namespace, Release(tools, namespace, images) as release:
        yield release


def test_install_upgrade_uninstall_and_install_again(alone: Release, tmp_path: Path) -> None:
    """One install makes a working system; after uninstalling only its data stays, which the next install uses.

    The first chart's selectors lack app.kubernetes.io/name: an upgrade from it prints the command that it needs. An
    install without the registry is put right by deploying with it.
    """
    told = alone.install(VALUES, chart=chart_before_names_selected(tmp_path))
    assert "helm test sluice" in told
    assert "would violate PodSecurity" not in told
    assert alone.restarts() == {}
    assert no_secret_outside_secrets(alone)

    alone.start_loader()
    alone.upload("first", 0, 50)
    job = alone.submit("s3://images/first/", "--model", "noop@1.0")
    alone.wait_done(job, 50)

    told = alone.upgrade(VALUES, check=False)
    assert "selector lacks app.kubernetes.io/name" in told
    command = re.search(r"kubectl --namespace sluice-lifecycle delete .*", told)
    assert command
    before = {pod.metadata.uid for pod in alone.pods()}
    alone.tools.run(*shlex.split(command[0]))
    assert {pod.metadata.uid for pod in alone.pods()} == before, "the pods work on"
    alone.upgrade(VALUES)
    alone.wait_ready(producer=1, consumer=2, gateway=1, torchserve=1, mysql=1, s3=1)
    assert all(pod.metadata.owner_references for pod in alone.pods() if pod.metadata.name != alone.loader)
    alone.check([job], 50)
    alone.tools.core.delete_namespaced_pod(alone.loader, alone.namespace, grace_period_seconds=0)

    alone.helm("uninstall", "--wait")
    wait_until(lambda: resources(alone) == DATA, "only data and its passwords are left")

    alone.helm("install", str(CHART), "--set=image.registry=", "--timeout=5s", values=VALUES, check=False)
    wait_until(lambda: all(has_no_image(alone, component) for component in ("mysql", "s3", "producer")), "no image")
    alone.deploy(VALUES)
    alone.start_loader()
    alone.check([job], 50)

    told = alone.deploy({**VALUES, "test": {"source": "s3://there-is-none/"}}, check=False)
    assert "the new one failed its test: revision 2 is back" in told
    history = json.loads(alone.helm("history", "--output", "json"))
    assert [entry["status"] for entry in history] == [*["superseded"] * 3, "deployed"]
    alone.check([job], 50)


def has_no_image(release: Release, component: str) -> bool:
    """Return whether a component has a pod for which no image was found."""
    containers = [
        status
        for pod in release.pods(component)
        for status in (*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or []))
    ]
    waiting = [status.state.waiting.reason for status in containers if status.state.waiting]
    return bool({"ErrImagePull", "ImagePullBackOff"} & set(waiting))


def chart_before_names_selected(folder: Path) -> Path:
    """Return a copy of the chart whose selectors are the first chart's."""
    copy = shutil.copytree(CHART, folder / "sluice")
    labels = copy / "templates" / "_labels.tpl"
    name = "app.kubernetes.io/name: {{ (index . 0).Chart.Name }}\n"
    whole, found, rest = labels.read_text().partition(name)
    assert found
    # Labels outside selectors stay.
    rest = rest.replace(
        '{{ include "sluice.selectorLabels"',
        name.replace("(index . 0)", "$root") + '{{ include "sluice.selectorLabels"',
        1,
    )
    before, pods, after = rest.partition('{{- define "sluice.podLabels" -}}\n')
    labels.write_text(whole + before + pods + name + after)
    return copy


def resources(release: Release) -> set[str]:
    """Return everything in the release's namespace that the cluster itself didn't create."""
    told = release.tools.run("kubectl", "get", KINDS, "--namespace", release.namespace, "--output=name").stdout
    names = {line.replace(".apps", "").replace(".batch", "") for line in told.split()}
    return {name for name in names if name not in CLUSTERS_OWN}


def no_secret_outside_secrets(release: Release) -> bool:
    """Return whether no value of a Secret appears in another manifest."""
    documents = [each for each in yaml.safe_load_all(release.manifest) if each]
    secrets = [each for each in documents if each["kind"] == "Secret"]
    others = yaml.safe_dump_all([each for each in documents if each["kind"] != "Secret"])
    values = [value for each in secrets for value in each.get("data", {}).values()]
    values += [base64.b64decode(value).decode() for value in values]
    long_ones = [value for value in values if len(value) > 8]
    assert long_ones
    return not any(value in others for value in long_ones)
