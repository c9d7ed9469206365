"""k8s/ is the rendered chart; its Secrets are created separately."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from sluice.protocol.keys import read_keys, read_public
from tests.chart.rendered import ROOT, Rendered, program

MANIFESTS = ROOT / "k8s"
KUBECTL = """#!/usr/bin/env bash
# Stands in for kubectl: `create secret generic NAME --from-file=…` fills a folder.
case "$3" in
get) [ -d "$SECRETS/$5" ] ;;
create) mkdir "$SECRETS/$6" && for file in "${@:7}"; do cp "${file#--from-file=}" "$SECRETS/$6/"; done ;;
esac
"""


@pytest.fixture(params=["cpu", "gpu"])
def manifest(request: pytest.FixtureRequest) -> Rendered:
    """Return one profile as it is in the repository."""
    return Rendered((MANIFESTS / request.param / "sluice.yaml").read_text())


def test_both_profiles_are_the_chart_rendered(tmp_path: Path) -> None:
    subprocess.run([ROOT / "scripts" / "render", tmp_path], check=True, timeout=60)
    for profile in ("cpu", "gpu"):
        made = (tmp_path / profile / "sluice.yaml").read_text()
        assert (MANIFESTS / profile / "sluice.yaml").read_text() == made, "run scripts/render"


def test_no_secret_is_in_the_repository(manifest: Rendered) -> None:
    assert manifest.of("Secret") == {}


def test_each_file_is_yaml_with_a_kind() -> None:
    for path in MANIFESTS.rglob("*.yaml"):
        if path.name != "values.yaml":
            assert all(resource["kind"] for resource in yaml.load_all(path.read_text(), yaml.CSafeLoader)), path


def test_both_kustomizations_build() -> None:
    for profile in ("cpu", "gpu"):
        done = subprocess.run(
            [program("kubectl"), "kustomize", MANIFESTS / profile], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        # `kubectl delete -k` must not delete the namespace, and with it Secrets and volumes.
        assert Rendered(done.stdout).of("Namespace") == {}
        deployments = {f"sluice-{component}" for component in ("consumer", "gateway", "torchserve")}
        assert Rendered(done.stdout).of("Deployment").keys() == deployments


def test_the_kustomizations_show_each_image_that_is_pulled() -> None:
    for profile in ("cpu", "gpu"):
        rendered = Rendered((MANIFESTS / profile / "sluice.yaml").read_text())
        pulled = {c["image"].partition(":")[0] for pod in rendered.pods for c in pod.containers}
        text = (MANIFESTS / profile / "kustomization.yaml").read_text()
        shown = yaml.safe_load(text.partition("# images:")[2].replace("\n#", "\n"))
        assert {image["name"] for image in shown} == pulled


def test_the_gpu_profile_goes_to_the_nodes_that_are_described(manifest: Rendered) -> None:
    nodes = yaml.safe_load((MANIFESTS / "prerequisites" / "gpu-nodes.yaml").read_text())["managedNodeGroups"][0]
    spec = manifest.pod("torchserve").spec
    if "nodeSelector" not in spec:
        assert "nvidia.com/gpu" not in spec["containers"][0]["resources"]["limits"]
        return
    assert spec["nodeSelector"].items() <= nodes["labels"].items()
    borne = {(toleration["key"], toleration["effect"]) for toleration in spec["tolerations"]}
    assert {(taint["key"], taint["effect"]) for taint in nodes["taints"]} <= borne


def test_the_secrets_that_are_named_are_those_that_the_script_makes(tmp_path: Path, manifest: Rendered) -> None:
    kubectl, secrets = tmp_path / "bin" / "kubectl", tmp_path / "secrets"
    kubectl.parent.mkdir()
    secrets.mkdir()
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    environment = {**os.environ, "PATH": f"{kubectl.parent}:{os.environ['PATH']}", "SECRETS": str(secrets)}
    for _ in range(2):
        subprocess.run([MANIFESTS / "secrets"], env=environment, check=True, capture_output=True, timeout=60)
    named = set(re.findall(r"(?:secretName: |secretKeyRef: {name: )([\w-]+)", manifest.text))
    assert named == {path.name for path in secrets.iterdir()}
    keyed = set(re.findall(r"secretKeyRef: {name: ([\w-]+), key: ([\w-]+)", manifest.text))
    assert all((secrets / name / key).stat().st_size > 16 for name, key in keyed)
    curve = secrets / "sluice-curve"
    for who in ("producer", "consumer"):
        assert read_keys(curve / f"{who}.key").public == read_public(curve / f"{who}.pub")
