"""The cluster's paths, and how the host reaches it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.cache import cache_folder

NODE: Final = "node-1"
HOST_ADDRESS: Final = "10.243.255.1"
GATE_ADDRESS: Final = "10.243.255.2"
"""The two ends of the only link between this machine and the cluster."""
NODE_ADDRESS: Final = "10.244.0.1"
PODS: Final = "10.244.0.0/16"
NODE_PODS: Final = "10.244.0.0/24"
SERVICES: Final = "10.96.0.0/16"
DNS_ADDRESS: Final = "10.96.0.10"
OUTSIDE_ADDRESSES: Final = "10.244.0.240-10.244.0.250"
"""Addresses for LoadBalancer Services; this machine can reach them."""

REGISTRY: Final = "sluice.local"
"""The registry part of local images' names; no such host exists, so a missing image fails immediately."""


@dataclass(frozen=True, slots=True)
class ClusterFolders:
    """The folders of a machine's only cluster."""

    cache: Path

    @classmethod
    def find(cls) -> ClusterFolders:
        """Use the cache of the other scripts."""
        return cls(cache_folder())

    @property
    def images(self) -> Path:
        """Containerd's folder; it outlives the cluster, so that images needn't be loaded again."""
        return self.cache / "cluster/containerd"

    @property
    def state(self) -> Path:
        """All other files; removed with the cluster."""
        return self.cache / "cluster/state"

    @property
    def logs(self) -> Path:
        """Logs, one file per program."""
        return self.state / "log"

    @property
    def keys(self) -> Path:
        """Certificates and kubeconfigs."""
        return self.state / "pki"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.keys / "admin.conf"

    @property
    def run(self) -> Path:
        """Sockets, and the first process's pid; a socket's path must be short."""
        return Path("/run/sluice-cluster")

    @property
    def socket(self) -> Path:
        """Containerd's socket."""
        return self.run / "containerd.sock"

    @property
    def ready(self) -> Path:
        """Exists once everything has started."""
        return self.run / "ready"

    @property
    def owner(self) -> Path:
        """Names the cache of the running cluster."""
        return self.run / "cache"

    @property
    def lock(self) -> Path:
        """A lock for changes to the cluster: a machine has only one, whatever its users' caches are."""
        return Path("/run/lock/sluice-cluster")

    @property
    def first_process(self) -> Path:
        """Contains the pid of the first process in the cluster's namespaces."""
        return self.run / "init.pid"
