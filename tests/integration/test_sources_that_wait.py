"""Errors of a process's access to S3 may be temporary: the job waits and says so, nothing fails, no process ends."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sluice.errors import SourceError
from sluice.ledger import Database, jobs, listing
from sluice.objects import Bucket
from sluice.settings import Settings
from tests.support.producer_jobs import Start, state, submit, until
from tests.support.producer_servers import FaultyS3, Photos
from tools.stack import S3Server

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


class Identity:
    """The HTTP server that gives a pod its credentials, with configurable answers."""

    def __init__(self, s3: S3Server) -> None:
        self.asked = 0
        self.status = 500
        self.body = "{}"
        self.good = json.dumps(
            {
                "AccessKeyId": s3.access_key,
                "SecretAccessKey": s3.secret_key,
                "Token": None,
                "Expiration": "2100-01-01T00:00:00Z",
            }
        )
        identity = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                identity.asked += 1
                self.send_response(identity.status)
                self.end_headers()
                self.wfile.write(identity.body.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def come(self) -> None:
        self.status, self.body = 200, self.good

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def identity(s3: S3Server) -> Iterator[Identity]:
    server = Identity(s3)
    yield server
    server.close()


@pytest.fixture(params=["direct", "boto3"])
def settings(
    request: pytest.FixtureRequest, s3_settings: Settings, monkeypatch: pytest.MonkeyPatch, identity: Identity
) -> Settings:
    """Return settings for the S3 server with only a pod identity's credentials."""
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", identity.url)
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    return s3_settings.model_copy(update={"s3_client": request.param})


@pytest.mark.parametrize(("status", "body"), [(500, ""), (200, "no JSON"), (200, "{}"), (200, '{"AccessKeyId": "a"}')])
def test_credentials_that_come_late_are_used_when_they_come(
    settings: Settings, photos: Photos, identity: Identity, status: int, body: str
) -> None:
    photos.put(a=b"1")
    source = Bucket(photos.bucket, "", settings)
    identity.status, identity.body = status, body
    with pytest.raises(SourceError, match="check its credentials"):
        list(source.list(b""))
    with pytest.raises(SourceError, match="check its credentials"):
        asyncio.run(source.read(b"a", "e", 100))
    identity.come()
    ((entry,),) = list(source.list(b""))
    assert asyncio.run(source.read(b"a", entry.etag, 100)) == b"1"
    source.close()


def test_where_no_credentials_are_found_none_are_kept(
    s3_settings: Settings, s3: S3Server, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos.put(a=b"1")
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    source = Bucket(photos.bucket, "", s3_settings)
    for _ in range(2):
        with pytest.raises(SourceError, match="no AWS credentials"):
            list(source.list(b""))
    for name in KEYS:
        monkeypatch.setenv(name, s3.environment[name])
    assert len(next(source.list(b""))) == 1
    source.close()


def test_a_producer_waits_for_its_credentials(
    database: Database, photos: Photos, identity: Identity, start: Start
) -> None:
    photos.put(empty=b"")
    job = submit(database, f"s3://{photos.bucket}")
    away = dict.fromkeys(KEYS, "")
    producer = start(AWS_CONTAINER_CREDENTIALS_FULL_URI=identity.url, **away)
    until(lambda: "credentials" in message(database, job))
    assert state(database) == "running"
    identity.come()
    until(lambda: database.run(listing.state, job).complete)
    assert producer.poll() is None


WRONG = [
    {"SLUICE_S3_REGION": "no region at all!"},
    {"SLUICE_S3_PROFILE": "no-such-profile"},
    {"SLUICE_S3_ROLE": "arn:aws:iam::1:role/x", "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: next(iter(wrong)))
def test_a_process_that_is_set_wrong_fails_no_job(
    database: Database, photos: Photos, start: Start, wrong: dict[str, str]
) -> None:
    """The job keeps running, its message says what to correct, and a correctly configured process finishes it."""
    photos.put(a=b"1")
    job = submit(database, f"s3://{photos.bucket}")
    producer = start(**wrong)
    until(lambda: message(database, job))
    assert state(database) == "running"
    assert "credentials" in message(database, job)
    producer.kill()
    producer.wait()
    start()
    until(lambda: database.run(listing.state, job).complete)


def test_an_address_where_no_s3_answers_fails_no_job(database: Database, faulty: FaultyS3, start: Start) -> None:
    faulty.listing = 404
    job = submit(database, "s3://bbb")
    start(SLUICE_S3_ENDPOINT=faulty.endpoint)
    until(lambda: message(database, job))
    assert state(database) == "running"


def test_a_job_that_failed_goes_on_when_it_is_retried(database: Database, s3: S3Server, start: Start) -> None:
    job = submit(database, "s3://made-later")
    start()
    until(lambda: state(database) == "failed")
    assert "does not exist" in message(database, job)
    s3.client.create_bucket(Bucket="made-later")
    database.run(jobs.retry, job)
    until(lambda: state(database) == "done")
    assert message(database, job).startswith("nothing is under this prefix")


def test_a_source_is_closed_when_its_last_read_has_ended(s3_settings: Settings, faulty: FaultyS3) -> None:
    """Uses of a closed source fail with an error that says that it may be opened again."""
    faulty.entries = []
    faulty.answers["slow"] = (500, "InternalError")
    settings = s3_settings.model_copy(update={"s3_endpoint": faulty.endpoint, "s3_client": "boto3"})
    source = Bucket("bbb", "", settings)

    async def close_under_reads() -> list[BaseException | bytes]:
        reads = [asyncio.create_task(source.read(b"slow", "e", 100)) for _ in range(settings.fetch_concurrency * 2)]
        await asyncio.sleep(0)
        source.close()
        return await asyncio.gather(*reads, return_exceptions=True)

    assert {type(found).__name__ for found in asyncio.run(close_under_reads())} == {"ReadRefused"}
    for again in (source.read(b"slow", "e", 100), source.head(b"slow")):
        with pytest.raises(SourceError, match="closed"):
            asyncio.run(again)
    with pytest.raises(SourceError, match="closed"):
        next(source.list(b""))


def message(database: Database, job: int) -> str:
    found = database.run(jobs.get, job)
    return found.message if found else ""


@pytest.fixture
def faulty() -> Iterator[FaultyS3]:
    server = FaultyS3()
    yield server
    server.close()
