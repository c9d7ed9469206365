"""Ray Data: read from S3 by tasks, classified by a pool of actors, written with write_sql."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.fs
import ray
from ray.data import ActorPoolStrategy

from tools.bench.peers.labeler import Labeler
from tools.bench.peers.task import INSERT, Task


def stamp(photos: dict[str, Any]) -> dict[str, Any]:
    """Note when photos were there; Ray fuses it with the reading."""
    return {**photos, "fetched": np.full(len(photos["path"]), time.time())}


class ClassifyingActor:
    """An actor."""

    def __init__(self, task: Task) -> None:
        self.labeler = Labeler(task)

    def __call__(self, photos: dict[str, Any]) -> dict[str, Any]:
        """Return rows in the order of the table's columns."""
        labels, scores = zip(*self.labeler(photos["bytes"]), strict=True)
        return {"url": photos["path"], "label": list(labels), "score": list(scores), "fetched": photos["fetched"]}


def main() -> None:
    """ClassifyingActor the photos."""
    task = Task.read()
    ray.init(
        num_cpus=os.cpu_count(),
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=str(Path.cwd()),
    )
    s3 = pyarrow.fs.S3FileSystem(endpoint_override=task.endpoint, region=task.region)
    paths = [f"{task.bucket}/{key}" for key in task.list_keys()]
    # Actors compute; reading and writing wait for others, and get the rest of each core.
    photos = ray.data.read_binary_files(paths, filesystem=s3, include_paths=True, num_cpus=0.25)
    photos.map_batches(stamp, batch_size=None, num_cpus=0.25).map_batches(
        ClassifyingActor,
        fn_constructor_args=(task,),
        batch_size=task.batch,
        compute=ActorPoolStrategy(size=task.processes),
        num_cpus=0.5 * (os.cpu_count() or 1) / task.processes,
    ).write_sql(INSERT, task.connect, ray_remote_args={"num_cpus": 0.25})


if __name__ == "__main__":
    main()
