"""Sluice's own processes in a stack: producers, consumers, gateways and agents, with their metrics."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import requests
from prometheus_client.parser import text_string_to_metric_families

from tools.stack.leash import Leash
from tools.stack.ports import free_port
from tools.stack.server import START_SECONDS, Server, plain_environment

ASK_SECONDS: Final = 5.0


class Worker(Server):
    """`python -m producer`, `consumer`, `gateway`, `trainer` or `handlers.agent`, with its own settings."""

    def __init__(
        self,
        name: str,
        module: str,
        folder: Path,
        leash: Leash,
        settings: Mapping[str, object],
        secrets: Mapping[str, str],
        *arguments: str,
    ) -> None:
        """`settings` are those of sluice/settings.py by name; `secrets` are additional environment variables."""
        super().__init__(name, folder, leash)
        self.module = module
        self.arguments = arguments
        self.metrics_port = free_port()
        self.settings = {"name": name, "metrics_port": self.metrics_port, **settings}
        self.metrics_url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        self._secrets = dict(secrets)

    def start(self) -> None:
        """Start; returns before it is ready."""
        set_here = {f"SLUICE_{key.upper()}": str(value) for key, value in self.settings.items()}
        self.spawn([sys.executable, "-m", self.module, *self.arguments], plain_environment(**set_here, **self._secrets))

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until it is ready."""
        self.wait_until(lambda: not self.why_not_ready(), seconds)

    def why_not_ready(self) -> str:
        """Return why /ready says that it isn't ready; empty when it is."""
        try:
            answer = requests.get(f"http://127.0.0.1:{self.metrics_port}/ready", timeout=ASK_SECONDS)
        except requests.RequestException as error:
            return f"no answer: {type(error).__name__}"
        return "" if answer.ok else answer.text.strip()

    def metrics(self) -> dict[str, float]:
        """Return its metrics by name, labels included as Prometheus writes them; empty while it doesn't answer."""
        try:
            answer = requests.get(self.metrics_url, timeout=ASK_SECONDS)
        except requests.RequestException:
            return {}
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found


def start_all(*workers: Worker) -> None:
    """Start processes side by side, and wait until all of them are ready."""
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.wait_ready()


class Gateway(Worker):
    """A worker that serves pages and API at `url`."""

    def __init__(
        self, name: str, folder: Path, leash: Leash, settings: Mapping[str, object], secrets: Mapping[str, str]
    ) -> None:
        """`settings` and `secrets` are a worker's; `gateway_bind` is an address of 127.0.0.1."""
        super().__init__(name, "gateway", folder, leash, settings, secrets)
        self.url = f"http://{settings['gateway_bind']}"
