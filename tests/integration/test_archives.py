"""Archives in a bucket, through the whole pipeline: their members become rows, in place."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from sluice.ledger import Database
from tests.support import archives
from tests.support.jobs_running import Operator
from tools.stack import Stack


@pytest.fixture
def operator(stack: Stack) -> Iterator[Operator]:
    with Database(stack.settings) as database:
        yield Operator(stack, database)


def put(stack: Stack, bucket: str, key: str, data: bytes) -> None:
    stack.servers.s3.client.put_object(Bucket=bucket, Key=key, Body=data)


def test_each_member_has_a_row_made_of_its_bytes(stack: Stack, operator: Operator, bucket: str) -> None:
    """Stored, deflated, with data descriptors, as zip64, as tar and as WebDataset: `--archives` finds them all."""
    files = archives.tiles(20, "a/b ü/")
    made = {
        "in/deflated.zip": archives.zipped(files),
        "in/stored.ZIP": archives.zipped(files, 0, comment=b"of a holiday"),
        "in/piped.zip": archives.piped(files),
        "in/zip64.zip": archives.zipped64(files),
        "in/long/plain.tar": archives.tarred(files),
    }
    for key, data in made.items():
        put(stack, bucket, key, data)
    put(stack, bucket, "in/shard-000.tar", archives.webdataset(20))
    put(stack, bucket, "in/beside.jpg", archives.tile(1))
    put(stack, bucket, "elsewhere.zip", archives.zipped(files))
    stack.start_workers(consumers=1)
    submitted = operator.command("submit", f"s3://{bucket}/in/", "--archives", "--wait")
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    ended = operator.progress(1)
    assert (ended.state, ended.listed, ended.done) == ("done", 120, 120)
    expected = {f"s3://{bucket}/{key}!/{name}": data for key in made for name, data in files.items()}
    expected |= {f"s3://{bucket}/in/shard-000.tar!/{n:06}.jpg": archives.tile(n) for n in range(20)}
    rows = operator.sql(
        "SELECT url, p.sha256 FROM results r JOIN predictions p ON p.object_id = r.object_id WHERE job = 1"
    )
    assert {row["url"]: row["sha256"] for row in rows} == {
        url: hashlib.sha256(data).digest() for url, data in expected.items()
    }
    operator.check("--bytes", "120")


def test_one_archive_is_a_source(stack: Stack, operator: Operator, bucket: str) -> None:
    files = archives.tiles(5)
    put(stack, bucket, "holiday.zip", archives.zipped(files))
    put(stack, bucket, "holiday.zip.zip", archives.zipped(files))
    stack.start_workers(consumers=1)
    job = operator.submit(f"s3://{bucket}/holiday.zip")
    ended = operator.ended(job)
    assert (ended.state, ended.listed, ended.done) == ("done", 5, 5)
    told = operator.command("results", str(job), "--limit", "10")
    assert f"s3://{bucket}/holiday.zip!/00003.jpg" in told.stdout
    operator.check()
