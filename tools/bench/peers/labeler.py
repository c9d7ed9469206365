"""The model, for a peer's process: the same decoding and the same network as everybody's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from sluice.images import decode
from tools.bench.bare import MAX_PIXELS, Network
from tools.bench.peers.task import Task


class Labeler:
    """An archive's network in a process, with the threads that the task gives it."""

    def __init__(self, task: Task) -> None:
        torch.set_num_threads(task.threads)
        self._network = Network(Path(task.archive))

    def __call__(self, photos: Sequence[bytes]) -> list[tuple[str, float]]:
        """Return each photo's label and score."""
        images = [decode(photo, self._network.preprocessing, MAX_PIXELS) for photo in photos]
        return [best[0] for best in self._network.predict(images)]
