"""The first process in the cluster's namespaces: starts and restarts the node's programs, and reaps orphans.

    python -m tools.cluster.first        run by `scripts/cluster up` under unshare, never by hand

When it ends, the kernel ends every process of the cluster and removes its mounts, links and packet filter rules.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tools.cluster.folders import (
    GATE_ADDRESS,
    HOST_ADDRESS,
    NODE,
    NODE_ADDRESS,
    PODS,
    SERVICES,
    ClusterFolders,
)

WIRE: Final = "node0"
WIRE_SECONDS: Final = 20.0
API_SECONDS: Final = 90.0
AGAIN_SECONDS: Final = 1.0


def programs(place: ClusterFolders) -> dict[str, list[str]]:
    """Return the command of each program, in the order in which they start."""
    keys, state = place.keys, place.state
    etcd = "http://127.0.0.1:2379"
    return {
        "etcd": [
            "etcd",
            f"--data-dir={state}/etcd",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync",  # a throwaway
        ],
        "containerd": ["containerd", f"--config={state}/containerd.toml"],
        "kube-apiserver": [
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            f"--advertise-address={NODE_ADDRESS}",
            f"--service-cluster-ip-range={SERVICES}",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--kubelet-preferred-address-types=InternalIP",
            "--enable-aggregator-routing",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            *(
                f"--{option}={keys}/{file}"
                for option, file in {
                    "client-ca-file": "ca.crt",
                    "tls-cert-file": "apiserver.crt",
                    "tls-private-key-file": "apiserver.key",
                    "service-account-key-file": "accounts.pub",
                    "service-account-signing-key-file": "accounts.key",
                    "kubelet-client-certificate": "admin.crt",
                    "kubelet-client-key": "admin.key",
                    "kubelet-certificate-authority": "ca.crt",
                    "requestheader-client-ca-file": "ca.crt",
                    "proxy-client-cert-file": "front.crt",
                    "proxy-client-key-file": "front.key",
                }.items()
            ),
        ],
        "kube-controller-manager": [
            "kube-controller-manager",
            f"--kubeconfig={keys}/controller-manager.conf",
            f"--root-ca-file={keys}/ca.crt",
            f"--service-account-private-key-file={keys}/accounts.key",
            f"--cluster-signing-cert-file={keys}/ca.crt",
            f"--cluster-signing-key-file={keys}/ca.key",
            "--use-service-account-credentials",
            # Tests wait for these: the defaults are for large clusters.
            "--horizontal-pod-autoscaler-sync-period=5s",
            "--horizontal-pod-autoscaler-cpu-initialization-period=30s",
            "--horizontal-pod-autoscaler-initial-readiness-delay=5s",
        ],
        "kube-scheduler": ["kube-scheduler", f"--kubeconfig={keys}/scheduler.conf"],
        "kubelet": [
            "kubelet",
            f"--kubeconfig={keys}/kubelet.conf",
            f"--config={state}/kubelet.yaml",
            f"--hostname-override={NODE}",
            f"--node-ip={NODE_ADDRESS}",
            f"--root-dir={state}/kubelet",
        ],
        "kube-proxy": [
            "kube-proxy",
            f"--kubeconfig={keys}/proxy.conf",
            f"--hostname-override={NODE}",
            f"--cluster-cidr={PODS}",
            "--proxy-mode=iptables",
            "--conntrack-max-per-core=0",
        ],
        "policies": [sys.executable, "-m", "tools.cluster.policies"],
    }


def main() -> None:
    """Prepare the namespaces, then run the programs until told to stop."""
    place = ClusterFolders.find()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    _hide(place)
    _connect()
    running: dict[int, str] = {}
    commands = programs(place)
    for name, command in commands.items():
        running[_start(place, name, command)] = name
        if name == "kube-apiserver":
            _wait_for_api(place)
    while True:
        try:
            ended, _ = os.wait()
        except ChildProcessError:
            sys.exit("all programs have ended")
        if name := running.pop(ended, ""):
            time.sleep(AGAIN_SECONDS)
            running[_start(place, name, commands[name])] = name


def _hide(place: ClusterFolders) -> None:
    """Mount private folders where the programs would write to the machine's."""
    own = {Path("/var/lib/cni"): "cni-data", Path("/var/log"): "var-log"}
    for path, name in own.items():
        path.mkdir(parents=True, exist_ok=True)
        (place.state / name).mkdir(exist_ok=True)
        _do("mount", "--bind", str(place.state / name), str(path))
    for path in (Path("/run/netns"), Path("/run/containerd")):
        path.mkdir(parents=True, exist_ok=True)
        _do("mount", "-t", "tmpfs", "tmpfs", str(path))
    # Containers must see volumes, and containerd must see kubelet's mounts.
    _do("mount", "--make-rshared", "/")


def _connect() -> None:
    """Wait for the veth interface from the host, then route between it and the pods."""
    _do("ip", "link", "set", "lo", "up")
    deadline = time.monotonic() + WIRE_SECONDS
    while subprocess.run(["ip", "link", "show", WIRE], capture_output=True, check=False).returncode != 0:
        if time.monotonic() > deadline:
            sys.exit(f"the host didn't put in {WIRE}")
        time.sleep(0.05)
    _do("ip", "address", "add", f"{GATE_ADDRESS}/30", "dev", WIRE)
    _do("ip", "link", "set", WIRE, "up")
    _do("ip", "route", "add", "default", "via", HOST_ADDRESS)
    # The node's address is the pods' gateway; the API server and kubelet need it before the first pod creates it.
    _do("ip", "link", "add", "cni0", "type", "bridge")
    _do("ip", "address", "add", f"{NODE_ADDRESS}/24", "dev", "cni0")
    _do("ip", "link", "set", "cni0", "up")
    for name in ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"):
        Path("/proc/sys", name).write_text("1")


def _start(place: ClusterFolders, name: str, command: list[str]) -> int:
    with (place.logs / f"{name}.log").open("ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True).pid


def _wait_for_api(place: ClusterFolders) -> None:
    """Wait for the API server, since the others would fail and retry; continue in any case."""
    deadline = time.monotonic() + API_SECONDS
    ask = ["kubectl", f"--kubeconfig={place.keys}/admin.conf", "get", "--raw", "/readyz"]
    while time.monotonic() < deadline:
        if subprocess.run(ask, capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.3)


def _do(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
