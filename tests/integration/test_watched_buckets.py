"""A watched bucket whose objects are added, changed and deleted; the test acts as the consumer."""

from __future__ import annotations

import asyncio

from sluice.domain import ListedObject
from sluice.ledger import Database, listing, progress
from sluice.protocol import Done, Failed, Failure
from sluice.settings import Settings
from tests.support.ledger_rows import breaches
from tests.support.producer_fakes import FakeConsumer
from tests.support.producer_jobs import Start, commit, play, reasons, submit, until
from tests.support.producer_servers import Photos


def counts(database: Database) -> tuple[int, int, int, int]:
    found = database.run(progress.progress, 1)
    assert found is not None
    return found.listed, found.done, found.quarantined, found.superseded


def is_listed(database: Database, objects: int) -> bool:
    return counts(database)[0] == objects


def test_the_same_bytes_uploaded_again_after_a_deletion_are_classified(
    own_settings: Settings, database: Database, photos: Photos, start: Start
) -> None:
    """The listing shows that a not_found object exists; its ETag is the one that the row has already."""
    photos.put(gone=b"bytes", stays=b"bytes too")
    submit(database, f"s3://{photos.bucket}", watch=True, watch_seconds=1)
    start()
    until(lambda: is_listed(database, 2))
    photos.delete("gone")

    async def part(consumer: FakeConsumer) -> None:
        await take(consumer, b"stays")
        await asyncio.to_thread(until, lambda: reasons(database) == {"gone": "not_found"})
        photos.put(gone=b"bytes")
        await take(consumer, b"gone")

    async def take(consumer: FakeConsumer, key: bytes) -> None:
        ((object_id, (item, data)),) = (await consumer.work()).items()
        assert item.key == key
        assert data
        await asyncio.to_thread(commit, database, [object_id])
        await consumer.say(Done([object_id]))

    play(own_settings, part)
    assert counts(database) == (2, 2, 0, 0)
    assert breaches(database) == []


def test_a_key_that_changes_under_its_reads_now_and_then_is_never_given_up(
    own_settings: Settings, database: Database, photos: Photos, start: Start
) -> None:
    """Only changes without a success in between count: a webcam's picture is classified whenever a read succeeds."""
    rounds = 6
    photos.put(webcam=b"0")
    submit(database, f"s3://{photos.bucket}", watch=True, watch_seconds=3600)
    start(SLUICE_DELIVERY="reference")

    async def next_of(consumer: FakeConsumer) -> int:
        ((object_id, _),) = (await consumer.work()).items()
        return object_id

    def replace(body: bytes) -> None:
        """Replace the bytes and update the ledger, as a notification does."""
        photos.put(webcam=body)
        etag = photos.client.head_object(Bucket=photos.bucket, Key="webcam")["ETag"].strip('"')
        database.run(listing.upsert_keys, 1, [ListedObject(b"webcam", etag, len(body))])

    async def part(consumer: FakeConsumer) -> None:
        for number in range(rounds):
            stale = await next_of(consumer)
            photos.put(webcam=b"after %d" % number)
            await consumer.say(Failed([Failure(stale, "changed", "it has another ETag")]))
            current = await next_of(consumer)
            await asyncio.to_thread(commit, database, [current])
            await consumer.say(Done([current]))
            await asyncio.to_thread(replace, b"before %d" % (number + 1))

    play(own_settings, part)
    assert reasons(database) == {}
    assert counts(database) == (2 * rounds + 1, 0, 0, 2 * rounds)
