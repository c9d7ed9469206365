"""Daft: downloads of URLs, a class as user-defined function in processes of its own, write_sql."""

from __future__ import annotations

import time
from typing import Any

import daft
from daft import DataType, col
from daft.functions import download
from daft.io import IOConfig, S3Config
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection

from tools.bench.peers.labeler import Labeler
from tools.bench.peers.task import TABLE, Task

BATCH = Task.read().batch
PREDICTION = DataType.struct({"label": DataType.string(), "score": DataType.float64()})


@daft.func.batch(return_dtype=DataType.float64())  # type: ignore[untyped-decorator]  # not installed there
def stamp(photos: daft.Series) -> list[float]:
    """Note when photos were there."""
    return [time.time()] * len(photos)


class ClassifyingProcess:
    """A process that has the model."""

    def __init__(self, task: Task) -> None:
        self.labeler = Labeler(task)

    @daft.method.batch(return_dtype=PREDICTION, unnest=True, batch_size=BATCH)  # type: ignore[untyped-decorator]
    def label(self, photos: daft.Series) -> list[dict[str, Any]]:
        """Return labels and scores."""
        return [{"label": label, "score": score} for label, score in self.labeler(photos.to_pylist())]


def main() -> None:
    """ClassifyingProcess the photos."""
    task = Task.read()
    engine = create_engine("mysql+pymysql://", creator=task.connect)

    def connect() -> Connection:
        return engine.connect()

    s3 = S3Config(endpoint_url=task.endpoint, region_name=task.region, use_ssl=False)
    classify = daft.cls(max_concurrency=task.processes, use_process=True)(ClassifyingProcess)(task)
    photos = daft.from_pydict({"url": [f"s3://{task.bucket}/{key}" for key in task.list_keys()]})
    photos = photos.with_column("photo", download(col("url"), io_config=IOConfig(s3=s3)))
    photos = photos.with_column("fetched", stamp(col("photo")))
    photos.select("url", "fetched", classify.label(col("photo"))).write_sql(TABLE, connect)


if __name__ == "__main__":
    main()
