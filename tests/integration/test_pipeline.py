"""The whole pipeline: real S3, producers, consumers, TorchServe and database."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from PIL import Image

from sluice.ledger import Database
from tests.support.jobs_running import Operator, until
from tools.photos import photos
from tools.stack import Stack, free_port

SAME_SCORE = 2e-3
"""Other batch sizes use other code in the network, which changes the last digits."""


@pytest.fixture
def operator(stack: Stack) -> Iterator[Operator]:
    with Database(stack.settings) as database:
        yield Operator(stack, database)


def tile(number: int, side: int = 64) -> bytes:
    """Return a small photo, different for each number."""
    picture = Image.new("RGB", (side, side), (number % 256, number // 256, 120))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG")
    return buffer.getvalue()


def fill(stack: Stack, bucket: str, count: int) -> None:
    for number in range(count):
        stack.servers.s3.client.put_object(Bucket=bucket, Key=f"{number:04}.jpg", Body=tile(number))


def test_each_photo_has_the_row_that_the_handler_would_answer(stack: Stack, operator: Operator, bucket: str) -> None:
    """Consumers pack pixels, `curl -T` sends the file; label and score are equal."""
    files = dict(photos(40))
    for key, data in files.items():
        stack.servers.s3.client.put_object(Bucket=bucket, Key=key, Body=data)
    job = operator.submit(f"s3://{bucket}", "efficientnet-lite0")
    stack.start_workers(consumers=2, window=8)
    ended = operator.ended(job)
    assert (ended.state, ended.listed, ended.done, ended.quarantined) == ("done", 40, 40, 0)
    rows = operator.sql("SELECT url, label, score FROM results WHERE job = %s", job)
    assert {row["url"] for row in rows} == {f"s3://{bucket}/{key}" for key in files}
    for row in rows:
        answer = requests.put(
            f"{stack.servers.torchserve.address}/predictions/efficientnet-lite0",
            data=files[row["url"].rpartition("/")[2]],
            timeout=60,
        ).json()
        best = max(answer.values())
        assert answer[row["label"]] == pytest.approx(row["score"], abs=SAME_SCORE), row
        assert row["score"] == pytest.approx(best, abs=SAME_SCORE), row
    for consumer in stack.consumers:
        assert consumer.metrics()["sluice_committed_total"] > 0, "both had their share"
    operator.check("--bytes", "40")


def test_a_watched_bucket_is_followed(stack: Stack, operator: Operator, bucket: str) -> None:
    """New keys join; a changed key is superseded, and its row replaced by that of the new bytes; I6 always holds."""
    client = stack.servers.s3.client
    fill(stack, bucket, 3)
    job = operator.submit(f"s3://{bucket}", watch=True, watch_seconds=1)
    stack.start_workers(consumers=2)
    until(lambda: operator.progress(job).done == 3, "the first pass")
    before = operator.objects(job)
    client.put_object(Bucket=bucket, Key="new.jpg", Body=tile(500))
    client.put_object(Bucket=bucket, Key="0001.jpg", Body=tile(501))
    until(lambda: (p := operator.progress(job)).listed == 5 and p.pending == 0, "what is new and what changed")
    seen, after = operator.progress(job), operator.objects(job)
    assert (seen.state, seen.done, seen.superseded) == ("running", 4, 1)
    assert after[b"0001.jpg"]["generation"] == 1
    assert {key: row["sha256"] for key, row in after.items()} == {
        f"{name}.jpg".encode(): hashlib.sha256(tile(number)).digest()
        for name, number in {"0000": 0, "0001": 501, "0002": 2, "new": 500}.items()
    }
    gone = before[b"0001.jpg"]["id"]
    assert operator.sql("SELECT state FROM objects WHERE id = %s", gone) == [{"state": "superseded"}]
    assert operator.sql("SELECT * FROM predictions WHERE object_id = %s", gone) == []
    operator.check()
    operator.sql("UPDATE jobs SET state = 'cancelled' WHERE id = %s", job)
    operator.check()


def test_plain_sql_pauses_resumes_and_cancels(stack: Stack, operator: Operator, bucket: str) -> None:
    fill(stack, bucket, 20)
    # So many that the listing can't have ended, however fast consumers are.
    operator.sql("INSERT INTO jobs (source, repeats) VALUES (%s, 100000)", f"s3://{bucket}")
    stack.start_workers(consumers=2, cache_entries=0)
    producer = stack.producers[0]

    def rests() -> bool:
        """Return whether nothing is leased or listed, and it stays so."""
        leased, listed = producer.metrics()["sluice_leased_total"], operator.progress(1).listed
        time.sleep(1.5)
        after = producer.metrics()
        return (
            after["sluice_leased_total"] == leased
            and after["sluice_in_flight"] == 0
            and operator.progress(1).listed == listed
        )

    until(lambda: operator.progress(1).done > 50, "its first rows")
    operator.sql("UPDATE jobs SET state = 'paused' WHERE id = 1")
    until(rests, "the pause", 30)
    paused = operator.progress(1)
    assert (paused.state, paused.listing_complete) == ("paused", False)
    operator.sql("UPDATE jobs SET state = 'running' WHERE id = 1")
    until(lambda: operator.progress(1).done > paused.done + 50, "rows after the pause")
    operator.sql("UPDATE jobs SET state = 'cancelled' WHERE id = 1")
    until(rests, "the end after cancelling", 30)
    cancelled = operator.progress(1)
    assert (cancelled.state, cancelled.listing_complete) == ("cancelled", False)
    operator.check()


def test_a_job_that_waited_paused_gets_its_model_when_sql_lets_it_run(
    stack: Stack, operator: Operator, bucket: str
) -> None:
    """A person may insert a paused job, and set it to 'running' later without setting `model_id`."""
    fill(stack, bucket, 3)
    operator.sql("INSERT INTO jobs (source, state) VALUES (%s, 'paused')", f"s3://{bucket}")
    stack.start_workers(consumers=1)
    operator.sql("UPDATE jobs SET state = 'running' WHERE id = 1")
    assert operator.ended(1).done == 3
    assert operator.sql("SELECT started IS NOT NULL AND model_id IS NOT NULL AS begun FROM jobs") == [{"begun": 1}]


def test_folders_references_and_repeats(stack: Stack, operator: Operator, bucket: str, tmp_path: Path) -> None:
    fill(stack, bucket, 10)
    folder = tmp_path / "my photos"
    (folder / "deep").mkdir(parents=True)
    for number in range(6):
        (folder / "deep" / f"{number} ü.jpg").write_bytes(tile(number))
    stack.start_workers(consumers=2, delivery="reference")
    local, repeated = operator.submit(f"file://{folder}"), operator.submit(f"s3://{bucket}", repeats=5)
    assert operator.ended(local).done == 6
    assert operator.ended(repeated).done == 50
    assert set(operator.objects(local)) == {f"deep/{number} ü.jpg".encode() for number in range(6)}
    urls = operator.sql("SELECT url FROM results WHERE job = %s", local)
    assert {row["url"] for row in urls} == {f"file://{folder}/deep/{number} ü.jpg" for number in range(6)}
    assert operator.sql("SELECT COUNT(*) AS n FROM results WHERE job = %s GROUP BY url", repeated) == [{"n": 5}] * 10
    # The bytes didn't go through the producer.
    assert stack.producers[0].metrics().get('sluice_stage_seconds_count{stage="s3"}', 0) == 0
    assert sum(c.metrics()['sluice_stage_seconds_count{stage="fetch"}'] for c in stack.consumers) == 56
    operator.check("--bytes", "56")


def test_two_producers_share_a_job(stack: Stack, operator: Operator, bucket: str) -> None:
    fill(stack, bucket, 60)
    # Shards own blocks of 1024 ids: the first 24 objects belong to one shard, the rest to the other.
    operator.sql("ALTER TABLE objects AUTO_INCREMENT = 1000")
    binds = [f"tcp://127.0.0.1:{free_port()}" for _ in range(2)]
    for shard, bind in enumerate(binds):
        stack.add_producer(shard=shard, shards=2, bind=bind)
    for _ in range(2):
        stack.add_consumer(producers=",".join(binds))
    for worker in stack.workers:
        worker.start()
    for worker in stack.workers:
        worker.wait_ready()
    jobs = [operator.submit(f"s3://{bucket}") for _ in range(2)]
    for job in jobs:
        assert operator.ended(job).done == 60
    leased = [producer.metrics()["sluice_leased_total"] for producer in stack.producers]
    assert all(leased)
    assert sum(leased) == 120
    operator.check()


def test_the_more_urgent_job_goes_first(stack: Stack, operator: Operator, bucket: str) -> None:
    fill(stack, bucket, 20)
    calm = operator.submit(f"s3://{bucket}", repeats=20)
    urgent = operator.submit(f"s3://{bucket}", repeats=20, priority=5)
    # Listed before any consumer asks for work, so that neither has a head start.
    producer = stack.add_producer()
    producer.start()
    until(lambda: all(operator.progress(job).listing_complete for job in (calm, urgent)), "both listings")
    for _ in range(2):
        stack.add_consumer(cache_entries=0, window=16).start()
    assert operator.ended(urgent).done == 400
    assert operator.ended(calm).done == 400
    early = operator.sql(
        "SELECT COUNT(*) AS n FROM predictions WHERE job_id = %s AND created < "
        "(SELECT MAX(created) FROM predictions WHERE job_id = %s)",
        calm,
        urgent,
    )
    # These were prefetched while the last urgent ones were processed; by taking turns it would be all of them.
    assert early[0]["n"] < 200
    operator.check()
