"""KEDA on the throwaway cluster, from its own manifests: for the one test that needs it, and for trying it out."""

from __future__ import annotations

import re
from typing import Final

from tools.cluster import image
from tools.cluster.cluster import Cluster
from tools.cluster.pieces import PIECES

NAMESPACE: Final = "keda"
IMAGES: Final = {"keda": "keda-operator", "keda-metrics-apiserver": "keda-adapter"}
"""Its images, and the program in each."""
DEPLOYMENTS: Final = ("keda-operator", "keda-metrics-apiserver")
USER: Final = 10001


def is_built(cluster: Cluster) -> bool:
    """Return whether its programs are in the cache: building them takes ten minutes."""
    return all(cluster.cache.program(program).exists() for program in IMAGES.values())


def install(cluster: Cluster) -> None:
    """Install it on a running cluster, and wait until it runs."""
    cluster.load_programs(IMAGES.values())
    folder = cluster.cache.modules_folder(PIECES["keda"]) / "config/minimal"
    cluster.apply(_with_own_images(cluster.kubectl("kustomize", str(folder))))
    cluster.wait_for("KEDA", lambda: all(cluster.is_ready(NAMESPACE, name) for name in DEPLOYMENTS))


def _with_own_images(text: str) -> str:
    """Use the images that exist, which contain a program and no user; leave CPU for the tests."""
    for name, program in IMAGES.items():
        text = re.sub(rf"image: ghcr\.io/kedacore/{name}:\S+", f"image: {image.name_of(program)}", text)
    text = re.sub(r"^( *- )/keda$", r"\1/keda-operator", text, flags=re.MULTILINE)
    text = text.replace("imagePullPolicy: Always", "imagePullPolicy: Never").replace("cpu: 100m", "cpu: 10m")
    return re.sub(r"^( *)runAsNonRoot: true$", rf"\1runAsNonRoot: true\n\1runAsUser: {USER}", text, flags=re.MULTILINE)
