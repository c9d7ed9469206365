"""The whole cluster: its programs, its node, and the workloads that it starts with."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from tools.cluster import image, node
from tools.cluster.errors import ClusterError
from tools.cluster.folders import NODE, ClusterFolders
from tools.cluster.lock import locked
from tools.cluster.pieces import INSTALLED, PIECES, BuildCache, install

ADDONS: Final = Path(__file__).parent / "addons"
CORE: Final = ("kubernetes", "coredns", "metrics-server", "metallb", "helm")
ON_NODE: Final = ("coredns", "metrics-server", "metallb-controller")
NAMESPACE: Final = "k8s.io"
VOLUMES: Final = 40
READY_SECONDS: Final = 120.0


class Cluster:
    """The one throwaway cluster of this machine."""

    def __init__(self, place: ClusterFolders) -> None:
        self.place = place
        self.cache = BuildCache(place.cache)

    @property
    def is_up(self) -> bool:
        """Return whether its first process is alive."""
        owner = self.place.owner
        if owner.exists() and owner.read_text() != str(self.place.cache):
            raise ClusterError(f"this machine's cluster was started with SLUICE_CACHE={owner.read_text()}: set it")
        return node.pid(self.place) is not None

    def build(self, *more: str) -> None:
        """Build and unpack programs that aren't in the cache."""
        with locked(self.cache.lock):
            install(INSTALLED)
            self.cache.unpack_debian()
            self.cache.build([*CORE, *more])
            image.build_pause(self.cache.program("pause"))

    def build_programs(self, *names: str) -> None:
        """Build programs that need no cluster, for example helm, without the cluster's own."""
        with locked(self.cache.lock):
            self.cache.build(["helm", *names])

    def up(self) -> None:
        """Start it and wait until it is ready; does nothing if it is ready, and starts over if it was interrupted."""
        with locked(self.place.lock):
            if not (self.is_up and self.place.ready.exists()):
                self._start()

    def _start(self) -> None:
        node.end(self.place)
        node.start(self.place, self.cache)
        self.wait_for("the API server", lambda: self.kubectl("get", "--raw", "/readyz") == "ok")
        self.load_programs(("pause", *ON_NODE))
        self._make_volumes()
        self._apply_addons()
        self.wait_for("the node", self._node_is_ready)
        self.wait_for("its addons", self._addons_are_ready)
        self.place.ready.touch()

    def down(self) -> None:
        """End it."""
        with locked(self.place.lock):
            if not self.is_up:
                print("cluster: it doesn't run; cleaning up", flush=True)
            node.end(self.place)

    def load(self, archive: str) -> None:
        """Load an image archive (docker save, OCI layout)."""
        self._ctr("images", "import", archive)

    def load_programs(self, programs: Iterable[str]) -> None:
        """Load images of cached programs onto the node, each once."""
        there = self._ctr("images", "list", "-q").split()
        with tempfile.TemporaryDirectory() as scratch:
            for program in programs:
                path = self.cache.program(program)
                mark = self.place.images / f".{program}"
                now = f"{path.stat().st_size} {path.stat().st_mtime_ns}"
                if image.name_of(program) in there and mark.exists() and mark.read_text() == now:
                    continue
                archive = Path(scratch) / f"{program}.tar"
                image.wrap(path, archive)
                self.load(str(archive))
                archive.unlink()
                mark.write_text(now)

    def has_image(self, name: str) -> bool:
        """Return whether an image is loaded."""
        return name in self._ctr("images", "list", "-q").split()

    def kubectl(self, *arguments: str, words: str | None = None) -> str:
        """Run kubectl; return its output, or nothing if it failed."""
        command = [str(self.cache.program("kubectl")), f"--kubeconfig={self.place.kubeconfig}", *arguments]
        done = subprocess.run(command, input=words, capture_output=True, text=True, check=False)
        self._said = done.stderr
        return done.stdout.strip() if done.returncode == 0 else ""

    def apply(self, text: str) -> None:
        """Apply a manifest."""
        if not self._try_to_apply(text):
            raise ClusterError(f"kubectl apply: {self._said[-600:]}")

    def is_ready(self, space: str, deployment: str) -> bool:
        """Return whether a Deployment's single pod is ready."""
        return (
            self.kubectl("get", "deployment", deployment, f"-n={space}", "-o=jsonpath={.status.readyReplicas}") == "1"
        )

    def wait_for(self, what: str, is_there: Callable[[], bool]) -> None:
        """Wait until a condition holds, or the cluster is gone."""
        deadline = time.monotonic() + READY_SECONDS
        while not is_there():
            if not self.is_up:
                raise ClusterError(f"the cluster ended; {self._last_words()}")
            if time.monotonic() > deadline:
                raise ClusterError(f"{what} didn't come up in {READY_SECONDS:.0f} s; {self._last_words()}")
            time.sleep(0.3)

    def _ctr(self, *arguments: str) -> str:
        command = [str(self.cache.debian / "usr/bin/ctr"), "-a", str(self.place.socket), "-n", NAMESPACE, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ClusterError(f"ctr {' '.join(arguments)}: {done.stderr.strip()[-600:]}")
        return done.stdout

    def _make_volumes(self) -> None:
        """Create folders for volume claims; a folder isn't used twice."""
        volumes = []
        for number in range(VOLUMES):
            folder = self.place.state / f"volumes/{number}"
            folder.mkdir(parents=True, exist_ok=True)
            volumes.append(
                {
                    "apiVersion": "v1",
                    "kind": "PersistentVolume",
                    "metadata": {"name": f"folder-{number}"},
                    "spec": {
                        "capacity": {"storage": "100Gi"},
                        "accessModes": ["ReadWriteOnce"],
                        "persistentVolumeReclaimPolicy": "Retain",
                        "storageClassName": "folders",
                        "local": {"path": str(folder)},
                        "nodeAffinity": {
                            "required": {
                                "nodeSelectorTerms": [
                                    {
                                        "matchExpressions": [
                                            {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
                                        ]
                                    }
                                ]
                            }
                        },
                    },
                }
            )
        self.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": volumes}))

    def _apply_addons(self) -> None:
        definitions = self.cache.modules_folder(PIECES["metallb"]) / "config/crd/bases"
        for file in sorted(definitions.glob("*.yaml")):
            self.apply(file.read_text())
        for file in sorted(ADDONS.glob("*.yaml")):
            text = file.read_text()
            self.wait_for(file.name, lambda text=text: self._try_to_apply(text))  # type: ignore[misc]

    def _try_to_apply(self, text: str) -> bool:
        return bool(self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", words=text))

    def _node_is_ready(self) -> bool:
        path = '{.status.conditions[?(@.type=="Ready")].status}'
        return self.kubectl("get", "node", NODE, f"-o=jsonpath={path}") == "True"

    def _addons_are_ready(self) -> bool:
        wanted = {"coredns": "kube-system", "metrics-server": "kube-system", "controller": "metallb-system"}
        return all(self.is_ready(space, name) for name, space in wanted.items())

    def _last_words(self) -> str:
        kept = self.place.cache / "cluster/last-log"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self.place.logs, kept)
        return f"its logs are in {kept}"
