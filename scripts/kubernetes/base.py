"""Base images for a machine that reaches no image registry; they stand where Dockerfiles name public ones."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Final

from scripts.kubernetes import image
from scripts.kubernetes.errors import ClusterError
from scripts.kubernetes.pieces import install
from scripts.kubernetes.place import REGISTRY

RELEASE: Final = "bookworm"
PACKAGES: Final = "python3,python3-venv,ca-certificates"
BASE: Final = f"{REGISTRY}/base:{RELEASE}"
GO: Final = f"{REGISTRY}/golang:{RELEASE}"
PATH: Final = "PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def make(folder: Path) -> tuple[Path, Path]:
    """Give the archives of Debian with Python and of the same with Go, made if they aren't there."""
    debian, golang = folder / f"base-{RELEASE}.tar", folder / f"golang-{RELEASE}.tar"
    if not (debian.exists() and golang.exists()):
        install({"debootstrap": "debootstrap"})
        folder.mkdir(parents=True, exist_ok=True)
        print("cluster: making base images", flush=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            root, layer, go = (Path(scratch) / name for name in ("root", "layer.tar", "go.tar"))
            _do("debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, str(root))
            _do("tar", "-C", str(root), "--exclude=./var/cache/apt/*", "--exclude=./dev/*", "-cf", str(layer), ".")
            home = _do("go", "env", "GOROOT").strip()
            _do("tar", "-C", home, "--dereference", "--transform=s,^\\.,usr/local/go,", "-cf", str(go), ".")
            configuration = {"Env": [PATH], "Cmd": ["bash"]}
            for archive, name, layers in ((debian, BASE, [layer]), (golang, GO, [layer, go])):
                whole = Path(scratch) / "whole.tar"
                image.write_archive(whole, name, layers, configuration)
                whole.rename(archive)
    return debian, golang


def _do(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command[:3])}: {(done.stderr or done.stdout)[-600:]}")
    return done.stdout
