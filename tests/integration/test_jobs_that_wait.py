"""The messages of waiting jobs: about their source, or the consumers."""

from __future__ import annotations

import asyncio

from sluice.ledger import Database, LedgerCursor, jobs
from sluice.protocol import Credit, Done
from sluice.settings import Settings
from tests.support.producer_fakes import FakeConsumer
from tests.support.producer_jobs import Start, commit, play, reasons, state, submit, until
from tests.support.producer_servers import Photos


def test_a_source_that_does_not_answer_quarantines_nothing(database: Database, photos: Photos, start: Start) -> None:
    """I5: the job says why it waits; only a missing bucket fails it."""
    photos.put(a=b"x")
    submit(database, f"s3://{photos.bucket}")
    submit(database, "s3://no-such-bucket-at-all")
    start(SLUICE_S3_ENDPOINT="http://127.0.0.1:9", SLUICE_S3_TIMEOUT="0.5")

    def message(cursor: LedgerCursor) -> str:
        job = jobs.get(cursor, 1)
        return job.message if job else ""

    until(lambda: "can't be reached" in database.run(message))
    assert state(database) == "running"
    assert reasons(database) == {}


def test_a_job_says_that_no_consumer_asks_for_work_and_why(
    own_settings: Settings, database: Database, photos: Photos, start: Start
) -> None:
    """The message is removed when a consumer asks, or the job is paused; also an earlier producer's message."""
    photos.put(a=b"x", b=b"y")
    job = submit(database, f"s3://{photos.bucket}")

    def message() -> str:
        found = database.run(jobs.get, job)
        return found.message if found else ""

    producer = start()
    until(lambda: message() == "no consumer is connected", 30)
    producer.kill()
    producer.wait()
    start()

    async def part(consumer: FakeConsumer) -> None:
        async def until_message(expected: str) -> None:
            await asyncio.to_thread(until, lambda: message() == expected)

        await consumer.say(Credit(0, 0, "no TorchServe is ready"))
        await until_message("1 consumer is connected and asks for no work: c: no TorchServe is ready")
        database.run(jobs.change_state, job, "paused")
        await until_message("")
        database.run(jobs.change_state, job, "running")
        await until_message("1 consumer is connected and asks for no work: c: no TorchServe is ready")
        await consumer.more(1)
        (object_id,) = await consumer.work()
        await until_message("")
        commit(database, [object_id], job)
        await consumer.say(Done([object_id]))

    play(own_settings, part, credit=0)
