"""The certificates of a cluster's parts; new for each cluster."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from tools.cluster.folders import GATE_ADDRESS, NODE, NODE_ADDRESS

HOSTS: Final = ",".join(
    [
        *(f"DNS:{name}" for name in ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", NODE)),
        "DNS:kubernetes.default.svc.cluster.local",
        *(f"IP:{address}" for address in ("127.0.0.1", "10.96.0.1", NODE_ADDRESS, GATE_ADDRESS)),
    ]
)
WHO: Final = {
    "apiserver": ("kube-apiserver", "kubernetes"),
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", "sluice"),
    "scheduler": ("system:kube-scheduler", "sluice"),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
    "proxy": ("system:kube-proxy", "sluice"),
    "front": ("front-proxy", "sluice"),
}
SERVERS: Final = frozenset({"apiserver", "kubelet"})
KUBECONFIG: Final = """\
apiVersion: v1
kind: Config
clusters: [{{name: sluice, cluster: {{server: "https://{address}:6443", certificate-authority: {folder}/ca.crt}}}}]
users: [{{name: {who}, user: {{client-certificate: {folder}/{who}.crt, client-key: {folder}/{who}.key}}}}]
contexts: [{{name: sluice, context: {{cluster: sluice, user: {who}}}}}]
current-context: sluice
"""


def make(folder: Path) -> None:
    """Make an authority, a certificate for each part, and their kubeconfigs."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    _openssl(folder, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "30", "-subj", "/CN=sluice")
    for who, (name, group) in WHO.items():
        _openssl(folder, "req", *key, "-keyout", f"{who}.key", "-out", f"{who}.csr", "-subj", f"/O={group}/CN={name}")
        hosts = HOSTS if who in SERVERS else "DNS:none.invalid"
        (folder / f"{who}.ext").write_text(f"subjectAltName={hosts}\nextendedKeyUsage=serverAuth,clientAuth\n")
        signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-extfile", f"{who}.ext"]
        _openssl(folder, "x509", "-req", "-in", f"{who}.csr", *signed, "-out", f"{who}.crt")
        address = GATE_ADDRESS if who == "admin" else "127.0.0.1"
        (folder / f"{who}.conf").write_text(KUBECONFIG.format(folder=folder, who=who, address=address))
        for extension in ("csr", "ext"):
            (folder / f"{who}.{extension}").unlink()
    _openssl(folder, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "accounts.key")
    _openssl(folder, "pkey", "-in", "accounts.key", "-pubout", "-out", "accounts.pub")


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
