"""Archives that are added, changed, damaged and repaired while a producer lists them; the test acts as the consumer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from sluice.errors import ObjectError
from sluice.ledger import Database, JobProgress, listing, progress
from sluice.objects import open_source
from sluice.protocol import Done, Failed, Failure, WorkItem
from sluice.settings import Settings
from tests.support import archives
from tests.support.ledger_rows import breaches
from tests.support.producer_fakes import FakeConsumer
from tests.support.producer_jobs import Start, commit, play, reasons, state, submit, until
from tests.support.producer_servers import Photos, RefusingProxy

Held = dict[int, tuple[WorkItem, bytes | None]]


def counts(database: Database, job: int = 1) -> JobProgress:
    found = database.run(progress.progress, job)
    assert found is not None
    return found


def names(held: Held) -> dict[str, bytes | None]:
    return {item.key.decode(): data for item, data in held.values()}


async def take(consumer: FakeConsumer, count: int) -> Held:
    """Receive so many objects."""
    held: Held = {}
    while len(held) < count:
        held |= await consumer.work()
    return held


async def finish(consumer: FakeConsumer, database: Database, held: Held) -> None:
    """Commit objects and report them, as a consumer does."""
    await asyncio.to_thread(commit, database, list(held))
    await consumer.say(Done(list(held)))


@pytest.fixture
def proxy(own_settings: Settings) -> Iterator[RefusingProxy]:
    proxy = RefusingProxy(str(own_settings.s3_endpoint))
    yield proxy
    proxy.close()


def test_a_listing_that_was_killed_within_an_archive_goes_on_there(
    own_settings: Settings, database: Database, photos: Photos, proxy: RefusingProxy, start: Start
) -> None:
    assert own_settings
    photos.put_key("a.zip", archives.zipped(archives.tiles(1500)))
    photos.put_key("b.tar", archives.tarred(archives.tiles(700)))
    proxy.held = "b.tar"  # so that the second page can't be read
    submit(database, f"s3://{photos.bucket}/!/")
    first = start(SLUICE_S3_ENDPOINT=proxy.endpoint)
    until(lambda: counts(database).listed == 1000)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    number, etag, key = database.run(listing.state, 1).cursor.split(b" ")
    assert (number, key) == (b"1000", b"a.zip")
    assert etag.decode() in photos.client.head_object(Bucket=photos.bucket, Key="a.zip")["ETag"]
    proxy.held = None
    start(SLUICE_S3_ENDPOINT=proxy.endpoint)
    until(lambda: counts(database).listing_complete)
    assert counts(database).listed == 2200
    assert breaches(database) == []


@pytest.mark.parametrize("delivery", ["inline", "reference"])
def test_an_archive_that_is_replaced_before_its_members_are_read(
    own_settings: Settings, database: Database, photos: Photos, start: Start, delivery: str
) -> None:
    """Members that the new one has too are superseded; the others become not_found."""
    photos.put_key("a.zip", archives.zipped({"gone.jpg": b"1", "new.jpg": b"2", "same.jpg": b"3"}))
    submit(database, f"s3://{photos.bucket}/a.zip")
    start(SLUICE_DELIVERY=delivery)
    until(lambda: counts(database).listing_complete)
    photos.put_key("a.zip", archives.zipped({"first.jpg": b"0", "same.jpg": b"3", "new.jpg": b"22"}))
    source = open_source(f"s3://{photos.bucket}/a.zip", own_settings)

    async def bytes_of(item: WorkItem, data: bytes | None) -> bytes | str:
        """Take the inline bytes, or read the reference, as a consumer does."""
        try:
            return data if data is not None else await source.read(item.key, item.etag, 1000)
        except ObjectError as error:
            return str(error.reason)

    async def part(consumer: FakeConsumer) -> None:
        if delivery == "reference":
            stale = await take(consumer, 3)
            read = {object_id: str(await bytes_of(*each)) for object_id, each in stale.items()}
            assert {stale[object_id][0].key: reason for object_id, reason in read.items()} == {
                b"a.zip!/gone.jpg": "not_found",
                b"a.zip!/new.jpg": "changed",
                b"a.zip!/same.jpg": "changed",
            }
            await consumer.say(Failed([Failure(object_id, reason, "why") for object_id, reason in read.items()]))
        fresh = await take(consumer, 2)
        found = {item.key: await bytes_of(item, data) for item, data in fresh.values()}
        assert found == {b"a.zip!/new.jpg": b"22", b"a.zip!/same.jpg": b"3"}
        await finish(consumer, database, fresh)
        await asyncio.to_thread(until, lambda: state(database) == "done")

    play(own_settings, part)
    source.close()
    found = counts(database)
    assert (found.listed, found.done, found.quarantined, found.superseded) == (5, 2, 1, 2)
    assert reasons(database) == {"gone.jpg": "not_found"}
    assert breaches(database) == []


def test_a_watched_prefix_takes_up_new_archives_and_forgets_that_one_was_broken(
    own_settings: Settings, database: Database, photos: Photos, start: Start
) -> None:
    whole = archives.zipped({"x.jpg": b"1", "y.jpg": b"2"})
    photos.put_key("in/cut.zip", whole[:-50])
    submit(database, f"s3://{photos.bucket}/in/!/", watch=True, watch_seconds=1)
    start()
    until(lambda: reasons(database) == {"cut.zip": "archive_damaged"})

    async def part(consumer: FakeConsumer) -> None:
        photos.put_key("in/new.zip", archives.zipped({"z.jpg": b"3"}))
        held = await take(consumer, 1)
        assert names(held) == {"in/new.zip!/z.jpg": b"3"}
        await finish(consumer, database, held)
        photos.put_key("in/cut.zip", whole[:-40])
        await asyncio.to_thread(until, lambda: counts(database).superseded == 1)
        photos.put_key("in/cut.zip", whole)
        held = await take(consumer, 2)
        assert names(held) == {"in/cut.zip!/x.jpg": b"1", "in/cut.zip!/y.jpg": b"2"}
        await finish(consumer, database, held)

    play(own_settings, part)
    found = counts(database)
    assert (found.listed, found.done, found.quarantined, found.superseded) == (3, 3, 0, 0)
    assert breaches(database) == []


@pytest.fixture
def queue() -> Iterator[tuple[str, Any]]:
    """Return the URL of a queue in moto, and a client for it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    sqs = boto3.client("sqs", region_name="us-east-1", endpoint_url=f"http://127.0.0.1:{port}")
    yield sqs.create_queue(QueueName="archives")["QueueUrl"], sqs
    server.stop()


def test_a_notification_of_an_archive_brings_its_members(
    own_settings: Settings, database: Database, photos: Photos, start: Start, queue: tuple[str, Any]
) -> None:
    url, sqs = queue
    job = submit(database, f"s3://{photos.bucket}/in/!/", watch=True, watch_seconds=3600)
    start(SLUICE_NOTIFICATIONS_QUEUE=url, AWS_DEFAULT_REGION="us-east-1")
    until(lambda: database.run(listing.state, job).complete)
    records = []
    for key, data in {
        "in/new.zip": archives.zipped({"x.jpg": b"1"}),
        "in/beside.jpg": b"2",
        "elsewhere.zip": archives.zipped({"z.jpg": b"3"}),
        "in/cut.tar": archives.tarred({"y.jpg": b"4" * 2000})[:1500],
    }.items():
        photos.put_key(key, data)
        etag = photos.client.head_object(Bucket=photos.bucket, Key=key)["ETag"]
        held = {"key": key, "size": len(data), "eTag": etag.strip('"')}
        records.append({"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": photos.bucket}, "object": held}})
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"Records": records}))

    async def part(consumer: FakeConsumer) -> None:
        held = await take(consumer, 1)
        assert names(held) == {"in/new.zip!/x.jpg": b"1"}
        await finish(consumer, database, held)
        await asyncio.to_thread(until, lambda: reasons(database) == {"cut.tar": "archive_damaged"})

    play(own_settings, part)
    assert counts(database).listed == 2
    assert breaches(database) == []


def test_an_archive_that_the_storage_refuses_does_not_keep_the_others_from_being_listed(
    own_settings: Settings, database: Database, photos: Photos, proxy: RefusingProxy, start: Start
) -> None:
    assert own_settings
    for name in ("a", "b"):
        photos.put_key(f"{name}.zip", archives.zipped({"x.jpg": b"1"}))
    proxy.refused["a.zip"] = (500, "InternalError")
    submit(database, f"s3://{photos.bucket}/!/")
    start(SLUICE_S3_ENDPOINT=proxy.endpoint)
    until(lambda: counts(database).listing_complete, 120)
    assert reasons(database) == {"a.zip": "unreadable"}
    assert counts(database).listed == 2
