"""Features that only AWS has (queues, roles), simulated by moto; its S3 also takes keys that file systems can't."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from sluice.domain import ListedObject
from sluice.objects import Bucket
from sluice.objects.aws import is_aws, open_session
from sluice.objects.notifications import NotificationQueue, ObjectWritten
from sluice.settings import read_settings

STRANGE = ["../up", "..", "a/../b", "a/./b", "a//b", "/lead", "trail/", "plus+ and %20 %", "\x01", "ü?#"]


@pytest.fixture
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    endpoint = f"http://127.0.0.1:{port}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    yield endpoint
    server.stop()


@pytest.mark.parametrize("client", ["direct", "obstore", "boto3"])
def test_keys_that_no_file_system_holds_are_read_as_they_are(moto: str, client: str) -> None:
    name = f"strange-{client}"  # moto keeps its state for the whole process
    s3 = boto3.client("s3", endpoint_url=moto)
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for key in STRANGE:
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    source = Bucket(name, "", read_settings(s3_endpoint=moto, s3_client=client))
    entries = [entry for page in source.list(b"") for entry in page]
    assert {entry.key.decode() for entry in entries} == set(STRANGE)

    async def read_all() -> list[bytes]:
        return [await source.read(entry.key, entry.etag, 1000) for entry in entries]

    assert asyncio.run(read_all()) == [entry.key for entry in entries]


def test_notifications_are_read_once_they_are_deleted(moto: str) -> None:
    sqs = boto3.client("sqs", endpoint_url=moto)
    queue = sqs.create_queue(QueueName="photos")["QueueUrl"]
    held = {"key": "a+b.jpg", "size": 3, "eTag": "e"}
    record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": held}}
    sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"Records": [record]}))
    follower = NotificationQueue(queue, read_settings())
    batch = follower.receive()
    assert list(batch.events) == [ObjectWritten("b", b"a b.jpg", ListedObject(b"a b.jpg", "e", 3))]
    follower.delete(batch.receipts)
    waiting = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert waiting["ApproximateNumberOfMessages"] == waiting["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_a_role_is_assumed_with_the_credentials_found(moto: str) -> None:
    assert moto
    role = "arn:aws:iam::123456789012:role/sluice"
    credentials = open_session(read_settings(s3_role=role, name="pod/1 of ü")).get_credentials()
    assert credentials
    assert credentials.method == "assume-role"
    assert credentials.get_frozen_credentials().token


def test_aws_is_told_from_other_servers() -> None:
    assert is_aws("https://s3.eu-west-1.amazonaws.com")
    assert is_aws("https://s3.cn-north-1.amazonaws.com.cn")
    assert not is_aws("http://127.0.0.1:7070")
    assert not is_aws("https://amazonaws.com.example.org")
