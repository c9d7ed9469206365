"""The competitor to match: one process that reads files, decodes in threads and runs the network, nothing else.

No bucket, no database, no second process, no retries: what the machine can do with these images, threads, weights and
the archive's runtime.
As a program it prints one JSON line; the benchmark starts it as its own process to measure its memory.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
import zipfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from handlers.loaded import LoadedNetwork
from sluice.images import decode

MAX_PIXELS = 100_000_000


class Network:
    """A model archive's network, with its preprocessing, run as TorchServe would run it here."""

    def __init__(self, archive: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(archive) as packed:
            card = json.loads(packed.read("model.json"))
            packed.extractall(scratch)
            self.loaded = LoadedNetwork(Path(scratch), card, torch.device("cpu"))
        self.labels: list[str] = card["labels"]
        self.preprocessing = self.loaded.preprocessing
        self.runs_as = self.loaded.runs_as

    def read(self, path: Path) -> NDArray[np.uint8]:
        """Read and decode a file."""
        return decode(path.read_bytes(), self.preprocessing, MAX_PIXELS)

    def predict(self, images: list[NDArray[np.uint8]]) -> list[list[tuple[str, float]]]:
        """Return each image's five best labels with their probabilities."""
        scores, classes = self.loaded.probabilities([np.stack(images)]).topk(5, dim=1)
        return [
            [(self.labels[number], score) for number, score in zip(numbers, values, strict=True)]
            for numbers, values in zip(classes.tolist(), scores.tolist(), strict=True)
        ]


def batches(network: Network, files: list[Path], threads: int, size: int) -> Iterator[list[NDArray[np.uint8]]]:
    """Decode in threads, two batches ahead of the network."""
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[NDArray[np.uint8]]] = deque()
        following = iter(files)
        for path in following:
            ahead.append(pool.submit(network.read, path))
            if len(ahead) >= 3 * size:
                yield [ahead.popleft().result() for _ in range(size)]
        while ahead:
            yield [ahead.popleft().result() for _ in range(min(size, len(ahead)))]


def main() -> None:
    """Classify a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--images", type=int, help="default: as many as there are; photos are read again if need be")
    parser.add_argument("--part", type=int, default=0, help="of --parts, to be done here (default: %(default)s)")
    parser.add_argument("--parts", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    network = Network(arguments.archive)
    there = sorted(arguments.folder.glob("*.jpg"))
    wanted = itertools.islice(itertools.cycle(there), arguments.images or len(there))
    files = list(wanted)[arguments.part :: arguments.parts]
    network.predict([network.read(path) for path in there[: arguments.batch]])  # the first run is slow

    began, cpu = time.perf_counter(), time.process_time()
    found: list[list[tuple[str, float]]] = []
    done: list[float] = []
    for images in batches(network, files, arguments.threads, arguments.batch):
        found += network.predict(images)
        done += [time.time()] * len(images)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    predictions = {path.name: best for path, best in zip(files, found, strict=True)}
    results = {"images": len(found), "seconds": seconds, "cpu": cpu, "done": done, "predictions": predictions}
    print(json.dumps(results))


if __name__ == "__main__":
    main()
