"""BentoML: a service with a worker process for each share of the cores, adaptive batching."""

from __future__ import annotations

from pathlib import Path

import bentoml

from tools.bench.peers.labeler import Labeler
from tools.bench.peers.task import Task

TASK = Task.read()
LATENCY_MS = 20_000
"""Above it requests are refused; the client keeps fewer waiting."""


@bentoml.service(workers=TASK.processes, traffic={"timeout": 60})
class ClassifierService:
    """POST /label with one or more files as `photos`."""

    def __init__(self) -> None:
        self.labeler = Labeler(TASK)

    @bentoml.api(batchable=True, max_batch_size=TASK.batch, max_latency_ms=LATENCY_MS)  # type: ignore[untyped-decorator]
    def label(self, photos: list[Path]) -> list[dict[str, str | float]]:
        """Return labels and scores."""
        return [
            {"label": label, "score": score} for label, score in self.labeler([path.read_bytes() for path in photos])
        ]
