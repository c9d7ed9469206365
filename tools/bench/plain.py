"""The usual client: sends TorchServe one JPEG per request, over keep-alive connections, a few at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import local

import requests

TIMEOUT = 60.0


@dataclass(frozen=True)
class PlainRun:
    """The results of a run."""

    seconds: float
    latencies: list[float]
    predictions: dict[str, tuple[str, float]]


def classify(address: str, model: str, files: list[Path], at_once: int) -> PlainRun:
    """Send the files and collect the best label of each."""
    mine = local()
    latencies: list[float] = []
    predictions: dict[str, tuple[str, float]] = {}

    def send(path: Path) -> None:
        session: requests.Session | None = getattr(mine, "session", None)
        if session is None:
            session = mine.session = requests.Session()
        began = time.perf_counter()
        answer = session.post(f"{address}/predictions/{model}", data=path.read_bytes(), timeout=TIMEOUT)
        answer.raise_for_status()
        latencies.append(time.perf_counter() - began)
        label, score = next(iter(answer.json().items()))
        predictions[path.name] = (label, score)

    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(send, files))
    return PlainRun(time.perf_counter() - began, latencies, predictions)
