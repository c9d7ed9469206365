"""A storage that always refuses some objects, and one that refuses all of them for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from sluice.domain import ReadFailure
from sluice.ledger import Database
from sluice.protocol import Done, Failed, Failure
from sluice.settings import Settings
from tests.support.producer_fakes import FakeConsumer
from tests.support.producer_jobs import Start, commit, play, reasons, state, submit, until
from tests.support.producer_servers import Photos, RefusingProxy
from tools.stack import S3Server

# Reads in an outage; each asks a few times, with both clients. More would make the waits afterwards longer.
ENOUGH = 6


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[RefusingProxy]:
    server = RefusingProxy(s3.endpoint)
    yield server
    server.close()


def test_an_object_that_the_storage_refuses_for_ever_is_unreadable_and_the_job_ends(
    own_settings: Settings, database: Database, photos: Photos, proxy: RefusingProxy, start: Start
) -> None:
    """It is the same whether the producer or a consumer reads it; an outage quarantines nothing (I5)."""
    photos.put(good=b"x", error=b"x", disabled=b"x", reference=b"x" * 200)
    proxy.refused = {"error": (501, "NotImplemented"), "disabled": (400, "KMS.DisabledException")}
    proxy.all = True
    submit(database, f"s3://{photos.bucket}")
    start(SLUICE_S3_ENDPOINT=proxy.endpoint, SLUICE_INLINE_MAX_BYTES="100")

    async def part(consumer: FakeConsumer) -> None:
        async def refuse_references() -> None:
            """Report that the storage refuses the reference, and commit inline objects."""
            while True:
                for object_id, (item, data) in (await consumer.work()).items():
                    if data is None:
                        assert item.key == b"reference"
                        await consumer.say(Failed([Failure(object_id, ReadFailure.STORAGE_ERROR, "500 for ever")]))
                    else:
                        await asyncio.to_thread(commit, committing, [object_id])
                        await consumer.say(Done([object_id]))
                    await consumer.more(1)

        refusing = asyncio.create_task(refuse_references())
        await asyncio.to_thread(until, lambda: proxy.refusals > ENOUGH)
        assert reasons(database) == {}
        proxy.all = False
        await asyncio.to_thread(until, lambda: state(database) == "done", 120)
        refusing.cancel()

    with Database(own_settings) as committing:  # `database` is asked by another thread meanwhile
        play(own_settings, part)
    assert reasons(database) == dict.fromkeys(["error", "disabled", "reference"], "unreadable")
