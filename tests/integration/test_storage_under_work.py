"""A storage that delays and refuses reads of a whole stack: no process ends, and only unreadable objects are lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from sluice.ledger import Database
from tests.support.consumer_fakes import png
from tests.support.jobs_running import Operator, until
from tests.support.producer_servers import RefusingProxy
from tools.stack import Stack

SOURCES: Final = 18
"""More than a consumer keeps open."""
FAST_CLIENT_TRIES: Final = 2
"""If there are more requests than this, both clients have tried."""


@pytest.fixture
def operator(stack: Stack) -> Iterator[Operator]:
    with Database(stack.settings) as database:
        yield Operator(stack, database)


@pytest.fixture
def proxy(stack: Stack) -> Iterator[RefusingProxy]:
    server = RefusingProxy(stack.servers.s3.endpoint)
    yield server
    server.held = None
    server.close()


def fill(stack: Stack, bucket: str, *keys: str) -> None:
    for number, key in enumerate(keys):
        stack.servers.s3.client.put_object(Bucket=bucket, Key=key, Body=png(number))


@pytest.mark.parametrize("told", ["paused", "cancelled"])
def test_a_job_told_to_rest_while_its_storage_fails_takes_no_other_with_it(
    stack: Stack, operator: Operator, bucket: str, proxy: RefusingProxy, told: str
) -> None:
    """Its source is closed during its reads, which then use the other client."""
    bad = ["bad/1", "bad/2", "bad/3"]
    fill(stack, bucket, *bad, "good/1", "good/2")
    proxy.held, proxy.refused = "bad/", dict.fromkeys(bad, (500, "InternalError"))
    stack.start_workers(consumers=1, s3_endpoint=proxy.endpoint, s3_client="direct")
    job = operator.submit(f"s3://{bucket}/bad/")
    until(lambda: proxy.asked.issuperset(bad), "the reads of all")
    operator.sql("UPDATE jobs SET state = %s WHERE id = %s", told, job)
    # When this job has been read, the other's pause has been read too.
    assert operator.ended(operator.submit(f"s3://{bucket}/good/")).done == 2
    proxy.held = None
    until(lambda: proxy.refusals > FAST_CLIENT_TRIES * len(bad), "the reads by the other client")
    assert operator.ended(operator.submit(f"s3://{bucket}/good/")).done == 2
    proxy.refused = {}
    if told == "paused":
        operator.sql("UPDATE jobs SET state = 'running' WHERE id = %s", job)
        assert operator.ended(job).done == len(bad)
    assert all(worker.pid for worker in stack.workers)
    operator.check()


def test_a_consumer_closes_sources_under_their_reads_and_lives_on(
    stack: Stack, operator: Operator, bucket: str, proxy: RefusingProxy
) -> None:
    """The closed source is the one whose only read hasn't been answered yet."""
    first, *others = keys = [f"{number:02}/photo" for number in range(SOURCES)]
    fill(stack, bucket, *keys)
    proxy.held, proxy.refused = first, {first: (500, "InternalError")}
    stack.start_workers(consumers=1, s3_endpoint=proxy.endpoint, s3_client="direct", delivery="reference")
    job = operator.submit(f"s3://{bucket}/00/")
    until(lambda: first in proxy.asked, "the read of the first")
    jobs = [operator.submit(f"s3://{bucket}/{number:02}/") for number in range(1, SOURCES)]
    assert [operator.ended(each).done for each in jobs] == [1] * len(others)
    proxy.held = None
    until(lambda: proxy.refusals > FAST_CLIENT_TRIES, "the read by the other client")
    proxy.refused = {}
    assert operator.ended(job).done == 1
    assert all(worker.pid for worker in stack.workers)
    operator.check()


def test_a_reference_that_the_storage_refuses_for_ever_is_unreadable_and_the_job_ends(
    stack: Stack, operator: Operator, bucket: str, proxy: RefusingProxy
) -> None:
    """The consumer reports the refusal; an outage quarantines nothing (I5)."""
    fill(stack, bucket, "1", "2", "refused")
    proxy.refused, proxy.all = {"refused": (501, "NotImplemented")}, True
    stack.start_workers(consumers=1, s3_endpoint=proxy.endpoint, delivery="reference")
    job = operator.submit(f"s3://{bucket}")
    until(lambda: "refused" in message(operator, job) or "tried again" in message(operator, job), "a word of it")
    assert operator.progress(job).quarantined == 0
    proxy.all = False
    ended = operator.ended(job)
    assert (ended.state, ended.done, ended.quarantined) == ("done", 2, 1)
    assert operator.sql("SELECT object_key, reason FROM objects WHERE reason IS NOT NULL") == [
        {"object_key": b"refused", "reason": "unreadable"}
    ]
    operator.check()


def message(operator: Operator, job: int) -> str:
    return str(operator.sql("SELECT message FROM jobs WHERE id = %s", job)[0]["message"])
