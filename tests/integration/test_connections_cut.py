"""Producers and consumers whose connections are cut under a running job."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from PIL import Image

from sluice.ledger import Database
from tests.support.faulty_proxy import ProxyThread
from tests.support.jobs_running import Operator, until
from tools.stack import Stack

OBJECTS = 40
REPEATS = 50
CUTS = 6


@pytest.fixture
def operator(stack: Stack) -> Iterator[Operator]:
    with Database(stack.settings) as database:
        yield Operator(stack, database)


def test_a_job_whose_connections_are_cut_ends_and_no_object_is_blamed(
    stack: Stack, operator: Operator, bucket: str
) -> None:
    for number in range(OBJECTS):
        file = io.BytesIO()
        Image.frombytes("RGB", (32, 32), random.Random(number).randbytes(3072)).save(file, "PNG")
        stack.servers.s3.client.put_object(Bucket=bucket, Key=f"{number:03}.png", Body=file.getvalue())
    # No death by silence, however slow this machine is: only the messages' counts may bring lost objects back.
    producer = stack.add_producer(heartbeat=600)
    with ProxyThread(urlsplit(stack.settings.bind).port or 0) as proxy:
        for _ in range(2):
            stack.add_consumer(producers=f"tcp://127.0.0.1:{proxy.port}", heartbeat=0.5, cache_entries=0)
        for worker in stack.workers:
            worker.start()
        for worker in stack.workers:
            worker.wait_ready()
        job = operator.submit(f"s3://{bucket}", repeats=REPEATS)
        for number in range(1, CUTS + 1):
            least = number * OBJECTS * REPEATS // (CUTS + 2)
            until(lambda least=least: operator.progress(job).done >= least, f"{least} rows")  # type: ignore[misc]
            assert proxy.cut() >= 1
        ended = operator.ended(job)
        assert (ended.state, ended.done, ended.quarantined) == ("done", OBJECTS * REPEATS, 0)
        assert operator.sql("SELECT COUNT(*) AS count FROM objects WHERE deaths > 0") == [{"count": 0}]
        until(lambda: producer.metrics()["sluice_in_flight"] == 0, "the last DONE")
        operator.check()
