"""The throwaway cluster's parts that can be tested without a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tools.cluster import builder, image
from tools.cluster.pieces import Piece, go_mod

GO_MOD = """\
module k8s.io/kubernetes

go 1.24.0

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	example.com/forked => example.com/fork v1.2.3
)
replace example.com/old v1.0.0 => example.com/old v1.0.1
"""


KUBERNETES = Piece("k8s.io/kubernetes", "v1.34.4", ("cmd/kubelet",))
REPLACED = [
    "replace k8s.io/api => k8s.io/api v0.34.4",
    "replace example.com/forked => example.com/fork v1.2.3",
    "replace example.com/old v1.0.0 => example.com/old v1.0.1",
]


def test_a_module_that_replaces_others_is_required_with_its_replacements() -> None:
    """Modules in the module's own tree are published with their own versions."""
    assert go_mod({KUBERNETES: GO_MOD}).splitlines() == [
        "module sluice.local/built",
        "go 1.24.0",
        "require k8s.io/kubernetes v1.34.4",
        *REPLACED,
        "tool k8s.io/kubernetes/cmd/kubelet",
    ]


def test_pieces_of_a_group_are_required_together() -> None:
    """What both need is compiled once; the newer Go that one of them asks for builds all."""
    other = Piece("example.com/tool/v2", "v2.1.0", ("",), ("tool",))
    assert go_mod({KUBERNETES: GO_MOD, other: "module example.com/tool/v2\ngo 1.100.0\n"}).splitlines() == [
        "module sluice.local/built",
        "go 1.100.0",
        "require k8s.io/kubernetes v1.34.4",
        "require example.com/tool/v2 v2.1.0",
        *REPLACED,
        "tool k8s.io/kubernetes/cmd/kubelet",
        "tool example.com/tool/v2",
    ]


def test_a_program_becomes_an_image_of_one_layer(tmp_path: Path) -> None:
    program = tmp_path / "tool"
    program.write_bytes(b"\x7fELF")
    archive = tmp_path / "tool.tar"
    image.wrap(program, archive)
    with tarfile.open(archive) as files:
        (manifest,) = json.load(files.extractfile("manifest.json") or pytest.fail("no manifest"))
        assert manifest["RepoTags"] == ["sluice.local/tool:local"]
        about = json.load(files.extractfile(manifest["Config"]) or pytest.fail("no configuration"))
        assert about["config"]["Entrypoint"] == ["/tool"]
        (layer,) = manifest["Layers"]
        with tarfile.open(fileobj=files.extractfile(layer)) as inside:
            assert inside.getmember("tool").mode == 0o755
            assert inside.getmember("tmp").mode == 0o1777


def test_docker_builds_and_pushes_all_images(tmp_path: Path) -> None:
    """The engine is a stand-in: the tests' machines don't have one."""
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n')
    docker.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [str(builder.ROOT / "scripts/images"), "example.com/team", "--push"]
    subprocess.run(command, check=True, env=environment)
    asked = (tmp_path / "asked").read_text().splitlines()
    for folder, name in builder.NAMES.items():
        image_name = f"example.com/team/{name}:{builder.version()}"
        assert f"build --file docker/{folder}/Dockerfile --tag {image_name} ." in asked
        assert f"push {image_name}" in asked


def test_the_images_are_those_of_the_docker_folder() -> None:
    """There is one Dockerfile per component, and the tag is the version that the chart uses."""
    root = builder.ROOT
    assert {path.parent.name for path in root.glob("docker/*/Dockerfile")} == set(builder.NAMES)
    assert f"appVersion: {builder.version()}\n" in (root / "charts/sluice/Chart.yaml").read_text()
