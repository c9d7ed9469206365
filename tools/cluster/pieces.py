"""The programs of a cluster: their versions and origins, and how they get into the cache."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tools.cluster.errors import ClusterError

KUBERNETES: Final = "v1.34.4"
METALLB: Final = "v0.15.2"
COMPOSE: Final = "v2.40.3"
VERSITYGW: Final = (Path(__file__).parents[2] / "docker" / "versitygw" / "VERSION").read_text().strip()


@dataclass(frozen=True, slots=True)
class Piece:
    """Programs of one Go module; `packages` are below it."""

    module: str
    version: str
    packages: tuple[str, ...]
    names: tuple[str, ...] = ()
    linked: Mapping[str, str] = field(default_factory=dict)
    experiments: str = ""
    """Go experiments that it is built with (GOEXPERIMENT)."""

    @property
    def programs(self) -> tuple[str, ...]:
        """Return the programs' names in the cache; two modules may have programs of the same name."""
        return self.names or tuple(package.rsplit("/", 1)[-1] for package in self.packages)


PIECES: Final = {
    "kubernetes": Piece(
        "k8s.io/kubernetes",
        KUBERNETES,
        (
            "cmd/kube-apiserver",
            "cmd/kube-controller-manager",
            "cmd/kube-scheduler",
            "cmd/kube-proxy",
            "cmd/kubelet",
            "cmd/kubectl",
        ),
        linked={
            "k8s.io/component-base/version.gitVersion": KUBERNETES,
            "k8s.io/component-base/version.gitMajor": KUBERNETES[1:].split(".")[0],
            "k8s.io/component-base/version.gitMinor": KUBERNETES.split(".")[1],
            "k8s.io/component-base/version.gitTreeState": "clean",
        },
    ),
    "coredns": Piece("github.com/coredns/coredns", "v1.15.0", ("",), ("coredns",)),
    "metrics-server": Piece("sigs.k8s.io/metrics-server", "v0.9.0", ("cmd/metrics-server",)),
    "metallb": Piece("go.universe.tf/metallb", METALLB, ("controller",), ("metallb-controller",)),
    "helm": Piece("helm.sh/helm/v4", "v4.3.1", ("cmd/helm",)),
    "buildkit": Piece("github.com/moby/buildkit", "v0.25.2", ("cmd/buildkitd", "cmd/buildctl")),
    "kube-score": Piece("github.com/zegl/kube-score", "v1.20.0", ("cmd/kube-score",)),
    "actionlint": Piece("github.com/rhysd/actionlint", "v1.7.12", ("cmd/actionlint",)),
    "cosign": Piece("github.com/sigstore/cosign/v3", "v3.1.3", ("cmd/cosign",)),
    "trivy": Piece("github.com/aquasecurity/trivy", "v0.74.0", ("cmd/trivy",), experiments="jsonv2"),
    "versitygw": Piece("github.com/versity/versitygw", VERSITYGW, ("cmd/versitygw",)),
    "compose": Piece(
        "github.com/docker/compose/v2",
        COMPOSE,
        ("cmd",),
        ("docker-compose",),
        linked={"github.com/docker/compose/v2/internal.Version": COMPOSE},
    ),
    "keda": Piece(
        "github.com/kedacore/keda/v2", "v2.21.0", ("cmd/operator", "cmd/adapter"), ("keda-operator", "keda-adapter")
    ),
}

DEBIAN: Final = {
    "etcd-server": "usr/bin/etcd",
    "containerd": "usr/bin/containerd",
    "runc": "usr/sbin/runc",
    "containernetworking-plugins": "usr/lib/cni/bridge",
    "docker.io": "usr/sbin/dockerd",
}
"""Packages that are unpacked into the cache; installed, some would start a service on the machine."""
CLUSTERS: Final = tuple(package for package in DEBIAN if package != "docker.io")
"""The packages that a cluster needs."""

INSTALLED: Final = {
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ipset": "ipset",
    "iproute2": "ip",
    "openssl": "openssl",
    "mount": "mount",
}
"""Packages that are installed if their program is missing; none has a service."""

SYSTEM_PATH: Final = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"


class BuildCache:
    """A folder with the built programs; a missing program is built when it is requested."""

    def __init__(self, folder: Path) -> None:
        self.lock = folder / "bin.lock"
        self.programs = folder / "bin"
        self.debian = folder / "debian"

    def program(self, name: str) -> Path:
        """Return the path of a program, whether it is built or not."""
        return self.programs / name

    def modules_folder(self, piece: Piece) -> Path:
        """Return the folder of a module's own files."""
        return Path(_download(piece)["Dir"])

    def build(self, names: Iterable[str]) -> None:
        """Build missing programs."""
        self.programs.mkdir(parents=True, exist_ok=True)
        for name in names:
            piece = PIECES[name]
            mark = self.programs / f".{name}-{piece.version}"
            if mark.exists() and all(self.program(program).exists() for program in piece.programs):
                continue
            print(f"cluster: building {name} {piece.version}", flush=True)
            _build(piece, self.programs)
            mark.touch()

    def unpack_debian(self, packages: Iterable[str] = CLUSTERS) -> None:
        """Unpack missing packages."""
        missing = [package for package in packages if not (self.debian / DEBIAN[package]).exists()]
        if not missing:
            return
        print(f"cluster: unpacking {', '.join(missing)}", flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            os.chmod(scratch, 0o755)  # noqa: S103, PTH101 - apt fetches as a user of its own
            _run(["apt-get", "-q", "update"])
            _run(["apt-get", "-q", "download", *missing], cwd=scratch)
            for file in sorted(Path(scratch).glob("*.deb")):
                _run(["dpkg-deb", "-x", str(file), str(self.debian)])

    @property
    def path(self) -> str:
        """Return a PATH with all programs."""
        here = [self.programs, self.debian / "usr/bin", self.debian / "usr/sbin"]
        return ":".join([*map(str, here), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def install(wanted: Mapping[str, str]) -> None:
    """Install the packages whose program is missing."""
    missing = [package for package, program in wanted.items() if shutil.which(program, path=SYSTEM_PATH) is None]
    if missing:
        print(f"cluster: installing {', '.join(missing)}", flush=True)
        _run(["apt-get", "-q", "update"])
        _run(
            ["apt-get", "-q", "install", "-y", "--no-install-recommends", *missing],
            environment={"DEBIAN_FRONTEND": "noninteractive"},
        )


def _build(piece: Piece, target: Path) -> None:
    """Build in a module of our own: `go install` refuses modules whose go.mod has replacements."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "go.mod").write_text(go_mod(piece, Path(_download(piece)["GoMod"]).read_text()))
        _run(["go", "mod", "tidy"], cwd=scratch)
        flags = "-s -w " + " ".join(f"-X {name}={value}" for name, value in piece.linked.items())
        for package, program in zip(piece.packages, piece.programs, strict=True):
            path = "/".join(part for part in (piece.module, package) if part)
            command = ["go", "build", "-trimpath", "-ldflags", flags, "-o", str(folder / program), path]
            _run(command, cwd=scratch, environment={"GOEXPERIMENT": piece.experiments})
            shutil.move(folder / program, target / program)


def go_mod(piece: Piece, own: str) -> str:
    """Return a go.mod that requires the piece with the replacements in its `own` go.mod."""
    go = re.search(r"^go (\S+)$", own, re.MULTILINE)
    staging = f"v0.{piece.version[1:].split('.', 1)[1]}"
    replaced = []
    for old, new in re.findall(r"^\s*(?:replace )?(\S+(?: v\S+)?) => (\S+(?: v\S+)?)$", own, re.MULTILINE):
        # Kubernetes has some modules in its own tree; they are published with other versions.
        replaced.append(f"replace {old} => " + (f"{old} {staging}" if new.startswith("./") else new))
    tools = [f"tool {'/'.join(part for part in (piece.module, package) if part)}" for package in piece.packages]
    lines = ["module sluice.local/built", f"go {go[1] if go else '1.24'}", f"require {piece.module} {piece.version}"]
    return "\n".join([*lines, *replaced, *tools]) + "\n"


def _download(piece: Piece) -> dict[str, str]:
    found: dict[str, str] = json.loads(_run(["go", "mod", "download", "-json", f"{piece.module}@{piece.version}"]))
    return found


def _run(command: list[str], cwd: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Run a command and return its output; a failure shows the end of it."""
    whole = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOWORK": "off", **(environment or {})}
    try:
        done = subprocess.run(command, cwd=cwd, env=whole, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ClusterError(f"{command[0]} is not on PATH: install it, then run this again") from None
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command[:6])} failed:\n{(done.stderr or done.stdout)[-3000:]}")
    return done.stdout
