"""Starts and ends the node, and everything of it that is visible on the machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tools.cluster import keys
from tools.cluster.errors import ClusterError
from tools.cluster.folders import (
    DNS_ADDRESS,
    GATE_ADDRESS,
    HOST_ADDRESS,
    NODE_PODS,
    PODS,
    REGISTRY,
    SERVICES,
    ClusterFolders,
)
from tools.cluster.pieces import BuildCache

WIRE: Final = "sluice0"
COMMENT: Final = "sluice-cluster"
CGROUP: Final = "sluice-cluster"
WEIGHTS: Final = {"cpu.shares": "4096", "cpu.weight": "400"}
"""All pods together get CPU time as four other processes do. By default it is one: they would starve beside tests."""
RULES: Final = (
    ("nat", "POSTROUTING", ["-s", f"{HOST_ADDRESS}/30", "!", "-o", WIRE, "-j", "MASQUERADE"]),
    ("filter", "FORWARD", ["-i", WIRE, "-j", "ACCEPT"]),
    ("filter", "FORWARD", ["-o", WIRE, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"]),
)
"""Image builds inside the cluster use these to reach package registries."""
FORWARDING: Final = Path("/proc/sys/net/ipv4/ip_forward")
END_SECONDS: Final = 20.0

CONTAINERD: Final = """\
version = 2
root = "{images}"
state = "{run}/containerd"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  # A virtual machine may lack the right to lower an OOM score; runc would fail without saying so.
  restrict_oom_score_adj = true
  sandbox_image = "{registry}/pause:local"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{state}/cni"
"""
CNI: Final = """\
{{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {{"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
    "ipam": {{"type": "host-local",
              "ranges": [[{{"subnet": "{pods}", "rangeStart": "10.244.0.10", "rangeEnd": "10.244.0.230"}}]],
              "routes": [{{"dst": "0.0.0.0/0"}}]}}}},
  {{"type": "portmap", "capabilities": {{"portMappings": true}}}}
]}}
"""
KUBELET: Final = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}
containerRuntimeEndpoint: unix://{socket}
clusterDNS: [{dns}]
clusterDomain: cluster.local
resolvConf: ""
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: true}}
  x509: {{clientCAFile: {keys}/ca.crt}}
authorization: {{mode: Webhook}}
tlsCertFile: {keys}/kubelet.crt
tlsPrivateKeyFile: {keys}/kubelet.key
evictionHard: {{memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}}
# Nothing could be pulled again.
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
imageMinimumGCAge: 8760h
maxPods: 200
podCIDR: {pods}
shutdownGracePeriod: 0s
syncFrequency: 10s
"""


def pid(place: ClusterFolders) -> int | None:
    """Return the pid of the cluster's first process, if it is alive."""
    try:
        number = int(place.first_process.read_text())
        if b"tools.cluster.first" in Path(f"/proc/{number}/cmdline").read_bytes():
            return number
    except (OSError, ValueError):
        pass
    return None


def start(place: ClusterFolders, cache: BuildCache) -> None:
    """Start the node; returns before it is ready."""
    _check()
    for folder in (place.images, place.logs, place.run, place.state / "cni", place.state / "kubelet"):
        folder.mkdir(parents=True, exist_ok=True)
    place.owner.write_text(str(place.cache))
    keys.make(place.keys)
    names = {
        "images": place.images,
        "run": place.run,
        "state": place.state,
        "socket": place.socket,
        "keys": place.keys,
        "registry": REGISTRY,
        "cni": cache.debian / "usr/lib/cni",
        "pods": NODE_PODS,
        "dns": DNS_ADDRESS,
        "cgroup": CGROUP,
    }
    (place.state / "containerd.toml").write_text(CONTAINERD.format(**names))
    (place.state / "cni/10-pods.conflist").write_text(CNI.format(**names))
    (place.state / "kubelet.yaml").write_text(KUBELET.format(**names))
    for controller in _controllers():
        (controller / CGROUP).mkdir(exist_ok=True)
    _copy_cpuset()
    _set_weight()
    own = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
    with (place.logs / "first.log").open("ab") as log:
        outer = subprocess.Popen(
            [*own, sys.executable, "-m", "tools.cluster.first"],
            env={**os.environ, "PATH": cache.path},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    first = _child_of(outer.pid)
    place.first_process.write_text(str(first))
    _connect(first, place)


def end(place: ClusterFolders) -> None:
    """End the node and remove everything of it from the machine; images stay in the cache."""
    first = pid(place)
    if first is not None:
        os.kill(first, signal.SIGKILL)
        deadline = time.monotonic() + END_SECONDS
        while Path(f"/proc/{first}").exists():
            if time.monotonic() > deadline:
                raise ClusterError(f"process {first} doesn't end: see `ps -o pid,stat,wchan,cmd {first}`")
            time.sleep(0.05)
    _disconnect(place)
    for controller in _controllers():
        _remove_cgroups(controller / CGROUP)
    shutil.rmtree(place.state, ignore_errors=True)
    shutil.rmtree(place.run, ignore_errors=True)
    for folder in ("/var/lib/cni", "/run/netns", "/run/containerd"):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()  # if it is empty: mounts on it end with the namespace


def _check() -> None:
    if os.geteuid() != 0:
        raise ClusterError("a cluster needs root: run `sudo scripts/cluster up`")
    if not _controllers():
        raise ClusterError("there is no cgroup file system at /sys/fs/cgroup")


def _child_of(outer: int) -> int:
    deadline = time.monotonic() + END_SECONDS
    children = Path(f"/proc/{outer}/task/{outer}/children")
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if found := children.read_text().split():
                return int(found[0])
        time.sleep(0.02)
    raise ClusterError("unshare didn't start: namespaces may be forbidden here")


def _connect(first: int, place: ClusterFolders) -> None:
    """Create a veth pair between this machine's network and the cluster's."""
    _do("ip", "link", "add", WIRE, "type", "veth", "peer", "name", "node0", "netns", str(first))
    _do("ip", "address", "add", f"{HOST_ADDRESS}/30", "dev", WIRE)
    _do("ip", "link", "set", WIRE, "up")
    for network in (PODS, SERVICES):
        _do("ip", "route", "replace", network, "via", GATE_ADDRESS)
    (place.run / "ip_forward").write_text(FORWARDING.read_text())
    FORWARDING.write_text("1")
    for table, chain, rule in RULES:
        _do("iptables", "-t", table, "-I", chain, *rule, "-m", "comment", "--comment", COMMENT)


def _disconnect(place: ClusterFolders) -> None:
    # Routes are removed with the link.
    subprocess.run(["ip", "link", "delete", WIRE], capture_output=True, check=False)
    for table, chain, rule in RULES:
        whole = ["iptables", "-t", table, "-D", chain, *rule, "-m", "comment", "--comment", COMMENT]
        while subprocess.run(whole, capture_output=True, check=False).returncode == 0:
            pass
    before = place.run / "ip_forward"
    if before.exists():
        FORWARDING.write_text(before.read_text())


def _controllers() -> list[Path]:
    """Return the roots of the cgroup hierarchies: several with version 1, one with version 2."""
    top = Path("/sys/fs/cgroup")
    if (top / "cgroup.procs").exists():
        return [top]
    return [each for each in sorted(top.iterdir()) if (each / "cgroup.procs").exists() and not each.is_symlink()]


def _copy_cpuset() -> None:
    """Fill a new cpuset of version 1, which is empty and takes no process until then."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        top = Path("/sys/fs/cgroup/cpuset")
        if (top / name).exists():
            (top / CGROUP / name).write_text((top / name).read_text())


def _set_weight() -> None:
    """Let the pods have their share of CPU time: version 1 of cgroups has another file for it than version 2."""
    for controller in _controllers():
        for name, value in WEIGHTS.items():
            if (controller / CGROUP / name).exists():
                (controller / CGROUP / name).write_text(value)


def _remove_cgroups(folder: Path) -> None:
    if not folder.exists():
        return
    for inner in sorted((each for each in folder.rglob("*") if each.is_dir()), reverse=True):
        with contextlib.suppress(OSError):
            inner.rmdir()
    with contextlib.suppress(OSError):
        folder.rmdir()


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command)}: {done.stderr.strip()}")
