"""Where a cluster keeps things, and how the host reaches it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.cache import cache_folder

NODE: Final = "node-1"
HOST_ADDRESS: Final = "10.243.255.1"
GATE_ADDRESS: Final = "10.243.255.2"
"""Two ends of the only wire between this machine and the cluster."""
NODE_ADDRESS: Final = "10.244.0.1"
PODS: Final = "10.244.0.0/16"
NODE_PODS: Final = "10.244.0.0/24"
SERVICES: Final = "10.96.0.0/16"
DNS_ADDRESS: Final = "10.96.0.10"
OUTSIDE_ADDRESSES: Final = "10.244.0.240-10.244.0.250"
"""What LoadBalancer Services get; this machine can reach them."""

REGISTRY: Final = "sluice.local"
"""The registry part of local images' names; there is no such host, so a missing image fails at once."""


@dataclass(frozen=True, slots=True)
class ClusterFolders:
    """The folders of the one cluster that a machine can have."""

    cache: Path

    @classmethod
    def find(cls) -> ClusterFolders:
        """Take the cache that the other scripts use."""
        return cls(cache_folder())

    @property
    def images(self) -> Path:
        """The folder of containerd; it outlives the cluster, so that images needn't be loaded again."""
        return self.cache / "cluster/containerd"

    @property
    def state(self) -> Path:
        """All else on disk; removed with the cluster."""
        return self.cache / "cluster/state"

    @property
    def logs(self) -> Path:
        """One file a program."""
        return self.state / "log"

    @property
    def keys(self) -> Path:
        """Certificates and kubeconfigs."""
        return self.state / "pki"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.keys / "admin.conf"

    @property
    def run(self) -> Path:
        """Sockets, and the first process's number; a socket's name must be short."""
        return Path("/run/sluice-cluster")

    @property
    def socket(self) -> Path:
        """Where containerd listens."""
        return self.run / "containerd.sock"

    @property
    def ready(self) -> Path:
        """Is there once all of it came up."""
        return self.run / "ready"

    @property
    def owner(self) -> Path:
        """Names the cache of the cluster that runs."""
        return self.run / "cache"

    @property
    def lock(self) -> Path:
        """Held by whoever changes the cluster: a machine has one, whatever its users' caches are."""
        return Path("/run/lock/sluice-cluster")

    @property
    def first_process(self) -> Path:
        """Holds the number of the first process in the cluster's namespaces."""
        return self.run / "init.pid"
