"""The programs of a cluster: their versions and origins, and how they get into the cache."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
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
    linked: Mapping[str, str] = field(default_factory=dict, hash=False)
    experiments: str = ""
    """Go experiments that it is built with (GOEXPERIMENT)."""

    @property
    def programs(self) -> tuple[str, ...]:
        """Return the programs' names in the cache; two modules may have programs of the same name."""
        return self.names or tuple(package.rsplit("/", 1)[-1] for package in self.packages)

    @property
    def paths(self) -> tuple[str, ...]:
        """The packages as Go names them."""
        return tuple("/".join(part for part in (self.module, package) if part) for package in self.packages)


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

TOGETHER: Final = (("kubernetes", "metallb"), ("coredns", "helm", "metrics-server"))
"""What needs the same libraries of Kubernetes is built in one module: they are compiled once, not once a piece."""

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
        missing = [name for name in names if not self._has(name)]
        while missing:
            group = next((group for group in TOGETHER if missing[0] in group), (missing[0],))
            wanted = [name for name in missing if name in group]
            print(f"cluster: building {', '.join(f'{name} {PIECES[name].version}' for name in wanted)}", flush=True)
            _build([PIECES[name] for name in wanted], [PIECES[name] for name in group], self.programs)
            for name in wanted:
                self._mark(name).touch()
            missing = [name for name in missing if name not in wanted]

    def _has(self, name: str) -> bool:
        return self._mark(name).exists() and all(self.program(program).exists() for program in PIECES[name].programs)

    def _mark(self, name: str) -> Path:
        """Where it stands that a version of a piece was built."""
        return self.programs / f".{name}-{PIECES[name].version}"

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


def _build(wanted: Sequence[Piece], group: Sequence[Piece], target: Path) -> None:
    """Build pieces of a group in a module of our own: `go install` refuses modules whose go.mod has replacements."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "go.mod").write_text(go_mod({piece: Path(_download(piece)["GoMod"]).read_text() for piece in group}))
        _run(["go", "mod", "tidy"], cwd=scratch)
        for piece in wanted:
            flags = "-s -w " + " ".join(f"-X {name}={value}" for name, value in piece.linked.items())
            made = folder / "made"
            made.mkdir()
            # All programs at once: one is linked while others are compiled.
            command = ["go", "build", "-trimpath", "-ldflags", flags, "-o", f"{made}/", *piece.paths]
            _run(command, cwd=scratch, environment={"GOEXPERIMENT": piece.experiments})
            for path, program in zip(piece.paths, piece.programs, strict=True):
                shutil.move(made / path.rsplit("/", 1)[-1], target / program)
            made.rmdir()


def go_mod(pieces: Mapping[Piece, str]) -> str:
    """Return a go.mod that requires each piece with the replacements in the piece's own go.mod, which is its value."""
    version = max(map(_go_version, pieces.values()), key=lambda each: [int(part) for part in each.split(".")])
    required, replaced, tools = [], [], []
    for piece, own in pieces.items():
        required.append(f"require {piece.module} {piece.version}")
        staging = f"v0.{piece.version[1:].split('.', 1)[1]}"
        for old, new in re.findall(r"^\s*(?:replace )?(\S+(?: v\S+)?) => (\S+(?: v\S+)?)$", own, re.MULTILINE):
            # Kubernetes has some modules in its own tree; they are published with other versions.
            replaced.append(f"replace {old} => " + (f"{old} {staging}" if new.startswith("./") else new))
        tools += [f"tool {path}" for path in piece.paths]
    return "\n".join(["module sluice.local/built", f"go {version}", *required, *replaced, *tools]) + "\n"


def _go_version(own: str) -> str:
    found = re.search(r"^go (\S+)$", own, re.MULTILINE)
    return found[1] if found else "1.24"


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
