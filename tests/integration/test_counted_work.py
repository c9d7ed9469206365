"""What work costs in requests, statements and bytes: counts that no machine changes, unlike times."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from sluice.images import decode, pack, unpack
from sluice.ledger import Database, predictions
from sluice.objects import open_source
from sluice.protocol import Done, Work, WorkItem
from sluice.protocol import encode as encode_frames
from sluice.settings import read_settings
from tests.support.corpus import SPEC, photo, saved
from tests.support.ledger_rows import ask, entries, ids_of, list_all, prediction, running_job
from tests.support.producer_servers import Photos, RefusingProxy
from tools.stack import S3Server

IMAGES = 40
LARGE = 256
"""Rows of a large commit."""


@pytest.fixture
def proxy(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[RefusingProxy]:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    server = RefusingProxy(s3.endpoint)
    yield server
    server.close()


def statements(database: Database) -> int:
    """Return how many statements this connection has sent; asking is one."""
    return int(ask(database, "SHOW SESSION STATUS LIKE 'Questions'")[0]["Value"])


def test_a_commit_takes_as_many_statements_for_one_row_as_for_many(ledger: Database) -> None:
    job = running_job(ledger)
    list_all(ledger, job, entries([b"%04d" % number for number in range(1 + LARGE)]))
    ids = list(ids_of(ledger, job).values())
    before = statements(ledger)
    asking = statements(ledger) - before
    counts = []
    for chosen in (ids[:1], ids[1:]):
        before = statements(ledger)
        assert len(ledger.run(predictions.commit, [prediction(each, job) for each in chosen])) == len(chosen)
        counts.append(statements(ledger) - before - asking)
    assert counts[0] == counts[1] <= 8, "begin, lock, insert, mark, tally, count, commit"


def test_an_image_is_one_request_and_a_page_of_keys_one(proxy: RefusingProxy, s3: S3Server, bucket: str) -> None:
    photos = Photos(bucket, s3.client)
    keys = [f"{number:04}.jpg" for number in range(IMAGES)]
    for key in keys:
        photos.put_key(key, b"any")
    source = open_source(f"s3://{bucket}", read_settings(s3_endpoint=proxy.endpoint))

    async def read_each() -> None:
        for entry in [entry for page in source.list(b"") for entry in page]:
            await source.read(entry.key, entry.etag, entry.size)

    asyncio.run(read_each())
    source.close()
    assert proxy.requests == ["GET ", *(f"GET {key}" for key in keys)]


def test_a_message_adds_few_bytes_to_its_photos_and_copies_none_of_them() -> None:
    payloads = [bytes([number]) * 1000 for number in range(16)]
    items = [
        WorkItem(
            id=10**9 + number,
            job=1000,
            model=100,
            source="s3://photos/2024/",
            key=b"2024/a/%06d.jpg" % number,
            etag="0" * 32,
            size=len(payload),
            inline=True,
            alone=False,
        )
        for number, payload in enumerate(payloads)
    ]
    frames = encode_frames(Work(items), payloads)
    assert all(frame is payload for frame, payload in zip(frames[2:], payloads, strict=True))
    assert sum(map(len, frames[:2])) <= 16 * 192
    assert sum(map(len, encode_frames(Done([item.id for item in items])))) <= 16 * 9 + 16


def test_a_batch_is_its_pixels_and_a_short_header_and_is_read_in_place() -> None:
    pictures = [decode(saved(photo(), "JPEG"), SPEC, 100_000_000)] * 4
    body = pack(pictures)
    assert len(body) - sum(each.nbytes for each in pictures) <= 16
    read = unpack(body)
    body[-1] ^= 255
    assert read[-1, -1, -1, -1] == body[-1], "a view, no copy"
