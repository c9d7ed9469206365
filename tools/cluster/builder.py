"""Builds the project's images directly into the cluster's containerd, with BuildKit: no registry, no copies."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from tools.cluster import base, node
from tools.cluster.cluster import NAMESPACE, Cluster
from tools.cluster.errors import ClusterError
from tools.cluster.folders import REGISTRY
from tools.cluster.lock import locked
from tools.cluster.pieces import PIECES

ROOT: Final = Path(__file__).resolve().parents[2]
NAMES: Final = {
    "sluice": "sluice",
    "torchserve": "sluice-torchserve",
    "mariadb": "sluice-mariadb",
    "versitygw": "sluice-versitygw",
}
"""Folders of docker/, and their images' names."""
CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
START_SECONDS: Final = 30.0

CONFIGURATION: Final = """\
root = "{root}"
[grpc]
  address = ["unix://{socket}"]
[worker.oci]
  enabled = false
[worker.containerd]
  enabled = true
  address = "{containerd}"
  namespace = "{namespace}"
  snapshotter = "overlayfs"
  networkMode = "host"
  [[worker.containerd.gcpolicy]]
    all = true
    maxUsedSpace = "{cache}"
"""
CACHE: Final = "20GB"
"""Maximum size of the build cache; a build of all images takes 13.5 GB, nearly all of it TorchServe's."""


def version() -> str:
    """Return the project's version, which is the tag of its images."""
    found = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    if found is None:
        raise ClusterError("pyproject.toml has no version")
    return found[1]


class Builder:
    """BuildKit next to the cluster's containerd; started with the first build, ended with the cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._socket = cluster.place.run / "buildkitd.sock"

    def build(self, folders: Collection[str], tag: str, stages: Mapping[str, Path] | None = None) -> None:
        """Build images of docker/; unchanged layers come from the cache.

        `stages` replaces stages of a Dockerfile by folders with their results.
        """
        if "sluice" in folders:
            _fetch_page_script()
        with locked(self._cluster.place.lock):
            self._start()
            self._load_base()
            for folder in folders:
                name = f"{REGISTRY}/{NAMES[folder]}:{tag}"
                started = time.monotonic()
                self._solve(folder, name, stages or self._stages(folder))
                print(f"cluster: {name} ({time.monotonic() - started:.0f} s)", flush=True)

    def _start(self) -> None:
        if self._is_up():
            return
        first = node.pid(self._cluster.place)
        if first is None:
            raise ClusterError("the cluster is down: run `scripts/cluster up`")
        configuration = self._cluster.place.state / "buildkitd.toml"
        configuration.write_text(
            CONFIGURATION.format(
                root=self._cluster.place.images.parent / "buildkit",
                socket=self._socket,
                containerd=self._cluster.place.socket,
                namespace=NAMESPACE,
                cache=CACHE,
            )
        )
        command = ["nsenter", f"--target={first}", "--mount", "--net", "--pid"]
        program = [str(self._cluster.cache.program("buildkitd")), f"--config={configuration}"]
        with (self._cluster.place.logs / "buildkitd.log").open("ab") as log:
            subprocess.Popen(
                [*command, *program],
                env={**os.environ, "PATH": self._cluster.cache.path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_up():
            if time.monotonic() > deadline:
                raise ClusterError(f"buildkitd didn't start: see {self._cluster.place.logs}/buildkitd.log")
            time.sleep(0.2)

    def _load_base(self) -> None:
        """Load the base image of the others into the cluster."""
        if not self._cluster.has_image(base.BASE):
            archive = self._cluster.place.images.parent / f"base-{base.RELEASE}.tar"
            base.make(archive)
            self._cluster.load(str(archive))

    def _is_up(self) -> bool:
        return self._buildctl("debug", "workers").returncode == 0

    def _solve(self, folder: str, name: str, stages: Mapping[str, Path]) -> None:
        output = f"type=image,name={name},unpack=true,compression=uncompressed"
        secret = [f"--secret=id=certificates,src={CERTIFICATES}"] if CERTIFICATES.exists() else []
        done = self._buildctl(
            "build",
            "--progress=plain",
            "--frontend=dockerfile.v0",
            f"--local=context={ROOT}",
            f"--local=dockerfile={ROOT / 'docker' / folder}",
            f"--opt=build-arg:BASE={base.BASE}",
            "--opt=image-resolve-mode=local",
            *(f"--local=lent-{stage}={path}" for stage, path in stages.items()),
            *(f"--opt=context:{stage}=local:lent-{stage}" for stage in stages),
            *secret,
            f"--output={output}",
        )
        if done.returncode != 0:
            raise ClusterError(f"docker/{folder}/Dockerfile doesn't build:\n{done.stderr[-3000:]}")

    def _stages(self, folder: str) -> dict[str, Path]:
        """Provide the S3 server that is already built: its stage would need an image with Go."""
        if folder != "versitygw":
            return {}
        lent = self._cluster.place.state / "lent"
        (lent / "out").mkdir(parents=True, exist_ok=True)
        # scripts/setup may have built it.
        built = self._cluster.place.cache / f"versitygw-{PIECES['versitygw'].version}"
        if not built.exists():
            self._cluster.cache.build(["versitygw"])
            built = self._cluster.cache.program("versitygw")
        shutil.copy(built, lent / "out/versitygw")
        return {"build": lent}

    def _buildctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self._cluster.cache.program("buildctl")), f"--addr=unix://{self._socket}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)


def _fetch_page_script() -> None:
    """Fetch the script of the gateway's pages, which isn't in the repository."""
    command = [str(ROOT / "scripts/setup"), "--run", "page_script"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command)} failed: {done.stdout[-600:]}{done.stderr[-600:]}")
