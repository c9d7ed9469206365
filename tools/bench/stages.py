"""The cost of one image in each stage, measured alone: one thread, nothing else running, no model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import zmq

from sluice import ledger
from sluice.domain import ListedObject, Model
from sluice.images import Preprocessing, decode, pack
from sluice.inference.client import Endpoint, TorchServeClient
from sluice.ledger import Database, Prediction
from sluice.objects import open_source
from sluice.protocol import Work, WorkItem
from sluice.protocol import decode as decode_frames
from sluice.protocol import encode as encode_frames
from sluice.settings import Settings

MESSAGE_OBJECTS: Final = 16
COMMIT_ROWS: Final = 256
MAX_PIXELS: Final = 100_000_000


@dataclass(frozen=True)
class Stage:
    """Milliseconds per image: wall clock, and this process's CPU time."""

    name: str
    wall: float
    cpu: float


def _measure(name: str, images: int, work: Callable[[], None]) -> Stage:
    began, cpu = time.perf_counter(), time.process_time()
    work()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Stage(name, seconds / images * 1000, cpu / images * 1000)


def s3(settings: Settings, bucket: str, files: list[Path]) -> Stage:
    """Read objects one after the other, as a producer does."""
    source = open_source(f"s3://{bucket}", settings)
    listed = [entry for page in source.list(b"") for entry in page][: len(files)]

    async def read_all() -> None:
        for entry in listed:
            await source.read(entry.key, entry.etag, settings.object_max_bytes)

    stage = _measure("S3", len(listed), lambda: asyncio.run(read_all()))
    source.close()
    return stage


def hop(files: list[Path]) -> Stage:
    """Encode, send over ZeroMQ on loopback, receive and decode, 16 objects per message."""
    payloads = [path.read_bytes() for path in files]
    context = zmq.Context()
    with context.socket(zmq.ROUTER) as router, context.socket(zmq.DEALER) as dealer:
        port = router.bind_to_random_port("tcp://127.0.0.1")
        dealer.connect(f"tcp://127.0.0.1:{port}")
        dealer.send(b"")
        peer = router.recv_multipart()[0]

        def send_all() -> None:
            for first in range(0, len(payloads), MESSAGE_OBJECTS):
                part = payloads[first : first + MESSAGE_OBJECTS]
                items = [
                    WorkItem(
                        id=first + n + 1,
                        job=1,
                        model=1,
                        source="s3://photos/",
                        key=files[first + n].name.encode(),
                        etag="0" * 32,
                        size=len(data),
                        inline=True,
                        alone=False,
                    )
                    for n, data in enumerate(part)
                ]
                router.send_multipart([peer, *encode_frames(Work(items), part)], copy=False)
                decode_frames(dealer.recv_multipart())

        stage = _measure("hop", len(payloads), send_all)
    context.term()
    return stage


def decoding(preprocessing: Preprocessing, files: list[Path]) -> Stage:
    """Decode, resize and crop in one thread."""
    payloads = [path.read_bytes() for path in files]

    def decode_all() -> None:
        for data in payloads:
            decode(data, preprocessing, MAX_PIXELS)

    return _measure("decode", len(payloads), decode_all)


def request(settings: Settings, address: str, noop: Model, images: int) -> Stage:
    """Pack and send batches to a model that computes nothing: TorchServe's own cost."""
    side = Preprocessing.from_dict(noop.preprocessing).crop
    batch = list(np.random.default_rng(1).integers(0, 256, (settings.batch, side, side, 3), np.uint8))
    client, endpoint = TorchServeClient(settings), Endpoint(address, address.partition("://")[2])
    rounds = max(1, images // settings.batch)
    client.predict(endpoint, noop, pack(batch), len(batch))

    def send_all() -> None:
        for _ in range(rounds):
            client.predict(endpoint, noop, pack(batch), len(batch))

    return _measure("request", rounds * settings.batch, send_all)


def commit(settings: Settings, model: Model, images: int) -> Stage:
    """Commit predictions in transactions of 256 rows."""
    entries = [ListedObject(f"{number:08d}.jpg".encode(), "0" * 32, 67_000) for number in range(images)]
    top = tuple((label, 1 / (rank + 2)) for rank, label in enumerate(model.labels[:5]))
    with Database(settings) as database:
        job = database.run(ledger.jobs.submit, "s3://commit-stage")
        database.run(ledger.jobs.change_state, job, "paused")
        database.run(ledger.listing.add_page, job, entries, repeat_no=0, last=True, repeats=1)
        objects = database.run(ledger.objects.pending, job, 0, images)

        def commit_all() -> None:
            for first in range(0, len(objects), COMMIT_ROWS):
                rows = [
                    Prediction(found.id, job, model.id, top[0][0], top[0][1], top, bytes(32), "bench")
                    for found in objects[first : first + COMMIT_ROWS]
                ]
                database.run(ledger.predictions.commit, rows)

        stage = _measure("commit", len(objects), commit_all)
        database.run(ledger.jobs.change_state, job, "cancelled")
    return stage
