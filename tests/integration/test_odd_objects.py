"""Keys, ETags and sizes that no column can hold, or that no read can be tied to (I3): they end no process.

A real S3 server limits keys and gives every object an ETag; a small fake returns what other servers do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from sluice.ledger import Database, listing, objects
from sluice.settings import Settings
from tests.support.producer_jobs import Start, reasons, state, submit, until
from tests.support.producer_servers import FaultyS3

ODD = [
    ("k" * 1500, '"e"', "1"),
    ("%FF.jpg", '"e"', "1"),
    ("no-etag.jpg", "", "1"),
    ("long-etag.jpg", f'"{"e" * 200}"', "1"),
    ("etag-of-no-ascii.jpg", '"é"', "1"),
    ("negative.jpg", '"e"', "-1"),
    ("immense.jpg", '"e"', str(2**64)),
]


@pytest.fixture
def faulty() -> Iterator[FaultyS3]:
    server = FaultyS3()
    yield server
    server.close()


def test_odd_entries_of_a_listing_are_quarantined_and_the_job_ends(
    own_settings: Settings, database: Database, faulty: FaultyS3, start: Start
) -> None:
    assert own_settings
    faulty.entries = ODD
    submit(database, "s3://bbb")
    start(SLUICE_S3_ENDPOINT=faulty.endpoint)
    until(lambda: state(database) == "done")
    found = reasons(database)
    assert len(found) == len(ODD)
    assert set(found.values()) == {"unlistable"}


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return a queue in moto, which the environment's AWS settings point to."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    sqs = boto3.client("sqs", endpoint_url=f"http://127.0.0.1:{port}")
    yield sqs.create_queue(QueueName="odd")["QueueUrl"]
    server.stop()


def test_odd_events_end_nothing_and_the_object_is_asked_for_what_they_lack(
    own_settings: Settings, database: Database, faulty: FaultyS3, queue: str, start: Start
) -> None:
    assert own_settings
    faulty.entries = []
    faulty.answers["asked.jpg"] = (200, "0123456789")
    job = submit(database, "s3://bbb", watch=True, watch_seconds=3600)
    said = [
        {"key": "k" * 1500, "size": 1, "eTag": "e"},
        {"key": "asked.jpg", "size": -1},
        {"key": "gone.jpg", "eTag": "e" * 200, "size": 3},
        {"size": 3},
        {"key": "z.jpg", "eTag": "e", "size": 0},
    ]
    records = [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "bbb"}, "object": held}} for held in said]
    start(SLUICE_S3_ENDPOINT=faulty.endpoint, SLUICE_NOTIFICATIONS_QUEUE=queue)
    until(lambda: database.run(listing.state, job).complete)
    sqs = boto3.client("sqs", endpoint_url=queue.rpartition("/")[0].rpartition("/")[0])
    sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"Records": records}))
    until(lambda: [found.etag for found in database.run(objects.pending, job, 0, 10)] == ["other", "e"])
    assert set(reasons(database).values()) == {"unlistable"}
