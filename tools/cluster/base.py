"""A base image for machines without access to an image registry; replaces the public ones in Dockerfiles."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Final

from tools.cluster import image
from tools.cluster.errors import ClusterError
from tools.cluster.folders import REGISTRY
from tools.cluster.pieces import install

RELEASE: Final = "bookworm"
PACKAGES: Final = "python3,python3-venv,ca-certificates"
LEFT_OUT: Final = (
    "./dev/*",
    "./var/cache/*",
    "./var/lib/apt/lists/*",
    "./usr/share/doc/*",
    "./usr/share/man/*",
    "./usr/share/locale/*",
)
"""Files that public slim images lack too."""
BASE: Final = f"{REGISTRY}/base:{RELEASE}"
PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def make(archive: Path) -> None:
    """Write an image archive of Debian with Python, if there is none."""
    if archive.exists():
        return
    install({"debootstrap": "debootstrap"})
    archive.parent.mkdir(parents=True, exist_ok=True)
    print("cluster: making a base image", flush=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        root, layer, whole = (Path(scratch) / name for name in ("root", "layer.tar", "whole.tar"))
        _do("debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, str(root))
        _do("tar", "-C", str(root), *(f"--exclude={each}" for each in LEFT_OUT), "-cf", str(layer), ".")
        image.write_archive(whole, BASE, [layer], {"Env": [PATH], "Cmd": ["bash"]})
        whole.rename(archive)


def _do(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command[:3])}: {(done.stderr or done.stdout)[-600:]}")
    return done.stdout
