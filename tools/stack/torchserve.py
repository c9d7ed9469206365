"""A private TorchServe: generated configuration, its own model store, logs and temporary files."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any, Final

import requests
from PIL import Image

from sluice import capacity
from tools.cache import cache_folder
from tools.stack.leash import Leash
from tools.stack.ports import free_port
from tools.stack.server import ROOT, Server, StackError, plain_environment

TEMPLATE: Final = ROOT / "model_store" / "config.properties"
START_SECONDS: Final = 300.0
PROBE_SECONDS: Final = 10.0
WITH_AGENT: Final = {"enable_model_api": "true"}
"""The option of a TorchServe that takes models at its management port while it runs."""
PORTS: Final = ("inference_port", "management_port", "metrics_port", "grpc_inference_port", "grpc_management_port")


def archive_of(model: str) -> Path:
    """Return the archive that scripts/setup built from a recipe."""
    path = cache_folder() / "models" / f"{model}.mar"
    if not path.is_file():
        raise StackError(f"no {path}: run scripts/setup, or scripts/build-model {model}")
    return path


def card_of(archive: Path) -> dict[str, Any]:
    """Return the card of a model archive."""
    with zipfile.ZipFile(archive) as opened:
        card: dict[str, Any] = json.loads(opened.read("model.json"))
    return card


class TorchServe(Server):
    """One TorchServe with some models."""

    def __init__(
        self,
        folder: Path,
        leash: Leash,
        archives: Sequence[Path],
        *,
        name: str = "torchserve",
        workers: int | None = 1,
        threads: int | None = None,
        options: dict[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        """Serve `archives` with `workers` processes per model, each with `threads` (default: cores / workers).

        One process is enough for tests; None: as many as this machine has room for. `options` replace lines of the
        configuration template; `port` is its inference port (default: a free one).
        """
        super().__init__(name, folder, leash)
        self.archives = list(archives)
        self.ports = {name: free_port() for name in PORTS}
        self.ports["inference_port"] = port or self.ports["inference_port"]
        self.address = f"http://127.0.0.1:{self.ports['inference_port']}"
        self.folder = folder / name
        """It has its model store in `store`, and its logs in `logs`."""
        self._options = options or {}
        self.arrangement = capacity.arrange(
            capacity.cores(),
            capacity.memory_bytes(),
            [archive.stat().st_size for archive in self.archives],
            workers=workers,
            threads=threads,
            has_gpu=capacity.has_gpu(),
            has_agent=self._options.items() >= WITH_AGENT.items(),
        )

    @property
    def models(self) -> list[str]:
        """Return the names of the models that it serves."""
        return [archive.name.removesuffix(".mar") for archive in self.archives]

    def start(self) -> None:
        """Start; returns long before it is ready."""
        store, logs, temporary = (self.folder / part for part in ("store", "logs", "tmp"))
        for path in (store, logs, temporary):
            path.mkdir(parents=True, exist_ok=True)
        for archive in self.archives:
            if not (store / archive.name).exists():
                shutil.copy(archive, store)
        # Left behind by a killed one: unpacked models and sockets.
        shutil.rmtree(temporary)
        temporary.mkdir()
        configuration = self.folder / "config.properties"
        configuration.write_text(self._configuration(store))
        (self.folder / capacity.NAME).write_text(self.arrangement.to_json())
        program = Path(sys.executable).parent / "torchserve"
        environment = plain_environment(
            TMPDIR=str(temporary),
            TEMP=str(temporary),
            LOG_LOCATION=str(logs),
            METRICS_LOCATION=str(logs),
            OMP_NUM_THREADS=str(self.arrangement.threads),
            OMP_WAIT_POLICY="PASSIVE",
            PATH=f"{program.parent}:{os.environ.get('PATH', '')}",
        )
        # It would come before an archive's folder: workers would run this checkout's code instead of the archive's.
        del environment["PYTHONPATH"]
        self.spawn(
            [program, "--start", "--foreground", "--ncs", "--ts-config", configuration, "--model-store", store],
            environment,
            cwd=self.folder,
        )

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until each model predicts with all its processes: /ping already answers before, and after a failure."""
        picture = io.BytesIO()
        Image.new("RGB", (64, 64), (90, 120, 40)).save(picture, "JPEG")
        for model in self.models:
            self.wait_until(lambda model=model: self.predicts(model, picture.getvalue()), seconds)  # type: ignore[misc]
            if self.arrangement.workers > 1:
                self.wait_until(lambda model=model: self.is_whole(model), seconds)  # type: ignore[misc]

    def stop(self, seconds: float = 30.0) -> int | None:
        """End it at once; its workers have no state, so there is nothing to wait for."""
        del seconds
        self.kill()
        return self.exit_code

    def predicts(self, model: str, picture: bytes) -> bool:
        """Return whether it predicts a picture."""
        try:
            answer = requests.post(f"{self.address}/predictions/{model}", data=picture, timeout=PROBE_SECONDS)
        except requests.RequestException:
            return False
        return answer.ok

    def is_whole(self, model: str) -> bool:
        """Return whether all processes of a model answer."""
        url = f"http://127.0.0.1:{self.ports['management_port']}/models/{model}"
        try:
            answer = requests.get(url, timeout=PROBE_SECONDS)
        except requests.RequestException:
            return False
        states = [worker["status"] for worker in answer.json()[0]["workers"]] if answer.ok else []
        return states == ["READY"] * self.arrangement.workers

    def _configuration(self, store: Path) -> str:
        lines = Template(TEMPLATE.read_text()).substitute(
            {port: str(number) for port, number in self.ports.items()},
            inference_host="127.0.0.1",
            model_store=str(store),
            models=",".join(archive.name for archive in self.archives),
            workers=str(self.arrangement.workers),
            queue=str(capacity.queue_size(self.arrangement.workers)),
        )
        kept = [line for line in lines.splitlines() if line.partition("=")[0] not in self._options]
        return "\n".join([*kept, *(f"{name}={value}" for name, value in self._options.items())]) + "\n"
