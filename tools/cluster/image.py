"""Image archives made without a registry: of a static binary, or of existing layers."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tools.cluster.folders import REGISTRY

PAUSE: Final = """\
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for pid := 1; pid > 0; {
			pid, _ = syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		}
	}
}
"""
"""Keeps a pod's namespaces open: waits, and reaps."""


def name_of(program: str) -> str:
    """Return the name of a program's image."""
    return f"{REGISTRY}/{program}:local"


def build_pause(target: Path) -> None:
    """Build the program of every pod's first container, if it is missing."""
    if target.exists():
        return
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "pause.go"
        source.write_text(PAUSE)
        command = ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(target), str(source)]
        subprocess.run(command, check=True, env=_static())


def wrap(program: Path, archive: Path) -> None:
    """Write an image archive with one layer, the program as its entry point."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        layer = Path(scratch) / "layer.tar"
        with tarfile.open(layer, mode="w") as files:
            info = tarfile.TarInfo(program.name)
            info.mode, info.size = 0o755, program.stat().st_size
            with program.open("rb") as content:
                files.addfile(info, content)
            # Programs that write a file expect this folder.
            folder = tarfile.TarInfo("tmp")
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
            files.addfile(folder)
        write_archive(archive, name_of(program.name), [layer], {"Entrypoint": [f"/{program.name}"]})


def write_archive(archive: Path, name: str, layers: Sequence[Path], configuration: Mapping[str, object]) -> None:
    """Write an image archive (as `docker save` does) of layers that are tar files."""
    digests = []
    for layer in layers:
        with layer.open("rb") as content:
            digests.append(hashlib.file_digest(content, "sha256").hexdigest())
    about = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": configuration,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        }
    ).encode()
    image = f"{hashlib.sha256(about).hexdigest()}.json"
    manifest = [{"Config": image, "RepoTags": [name], "Layers": [f"{digest}.tar" for digest in digests]}]
    with tarfile.open(archive, "w") as files:
        for file, text in ((image, about), ("manifest.json", json.dumps(manifest).encode())):
            info = tarfile.TarInfo(file)
            info.size = len(text)
            files.addfile(info, io.BytesIO(text))
        for layer, digest in zip(layers, digests, strict=True):
            files.add(layer, f"{digest}.tar")


def _static() -> dict[str, str]:
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GO111MODULE": "off"}
