"""A private Docker engine: Debian's, unpacked without installing it, with its data in a separate folder.

It has no bridge and no images at the start. Its networks disappear when Compose removes them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tools.cluster.errors import ClusterError
from tools.cluster.pieces import BuildCache

PACKAGE: Final = "docker.io"
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 60.0
FORWARDING: Final = Path("/proc/sys/net/ipv4/ip_forward")


class Engine:
    """One dockerd during `with`; its builds stay in the folder for the next time."""

    def __init__(self, cache: BuildCache, folder: Path) -> None:
        self._cache = cache
        self._folder = folder
        self._run = Path(tempfile.mkdtemp(prefix="sluice-docker-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.log = folder / "dockerd.log"

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables with which docker's commands use this engine, and no other."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "COMPOSE_"))},
            "PATH": self._cache.path,
            "DOCKER_HOST": f"unix://{self._run}/docker.sock",
            "DOCKER_CONFIG": str(self._run / "config"),
            "DOCKER_BUILDKIT": "1",
        }

    def __enter__(self) -> Self:
        """Start it, and wait until it answers."""
        self._cache.unpack_debian((PACKAGE,))
        self._folder.mkdir(parents=True, exist_ok=True)
        plugins = self._run / "config/cli-plugins"
        plugins.mkdir(parents=True)
        (plugins / "docker-compose").symlink_to(self._cache.program("docker-compose"))
        # If the engine had to enable forwarding itself, it would set the policy of FORWARD to DROP for the whole
        # machine.
        FORWARDING.write_text("1")
        command = [
            *("dockerd", f"--host=unix://{self._run}/docker.sock", f"--data-root={self._folder / 'data'}"),
            *(f"--exec-root={self._run / 'exec'}", f"--pidfile={self._run / 'dockerd.pid'}"),
            *("--storage-driver=overlay2", "--bridge=none", "--log-level=warn"),
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while self.docker("version", check=False).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._stop()
                raise ClusterError(f"dockerd doesn't start: see {self.log}")
            time.sleep(0.2)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        """End the engine, by force if necessary, and remove what belongs only to this run."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        shutil.rmtree(self._run, ignore_errors=True)

    def docker(
        self, *arguments: str, check: bool = True, words: str = "", variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a docker command; a failure shows the end of its output."""
        done = subprocess.run(
            ["docker", *arguments],
            env={**self.environment, **(variables or {})},
            input=words,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode != 0:
            raise ClusterError(f"docker {' '.join(arguments)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done
