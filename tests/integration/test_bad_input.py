"""Any content of a bucket, through the whole pipeline: a right prediction, or a reason that people understand.

No process may die of it: those at the end are those of the start.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

from sluice.domain import Reason
from sluice.ledger import Database
from tests.support.corpus import LABEL, Case, corpus, photo, saved
from tests.support.jobs_running import Operator, until
from tools.stack import S3Server, Stack

MODEL = "efficientnet-lite0"
KEYS = [
    "with spaces .jpg",
    " lead and trail ",
    "ü 日本 😀.jpg",
    "new\nline.jpg",
    "tab\tand\x7f.jpg",
    "percent%20 100%.jpg",
    "plus+and&hash#question?=1",
    "quotes'\"`\\{}[]^|<>*~;--",
    "dots..jpg/..a/.b",
    "no-extension",
    "é",
    "e\u0301",
    "/".join(["s" * 200] * 5) + "/" + "t" * 19,
]
NO_PATHS = ["..", "a/../b.jpg", "./c.jpg", "/d.jpg", "e//f.jpg", "g/.", "h/../../i", "../../etc/passwd", "\x01.jpg"]
"""Keys that S3 accepts and no folder can contain."""


@pytest.fixture
def operator(stack: Stack) -> Iterator[Operator]:
    with Database(stack.settings) as database:
        yield Operator(stack, database)


def pids(stack: Stack) -> list[int | None]:
    return [worker.pid for worker in stack.workers]


def put(stack: Stack, bucket: str, **objects: bytes) -> None:
    for key, body in objects.items():
        stack.servers.s3.client.put_object(Bucket=bucket, Key=key, Body=body)


def is_right(case: Case, row: dict[str, Any]) -> bool:
    """Return whether a row is the right result for a file."""
    if case.reason is not None:
        return (row["state"], row["reason"], row["label"]) == ("quarantined", case.reason, None)
    # Without its colours, or with few of them, the cup may look like another kind.
    sure = case.photo and not case.grey and case.near <= 4
    return row["state"] == "done" and (row["label"] == LABEL or not sure)


def test_every_file_gets_its_prediction_or_its_reason(stack: Stack, operator: Operator, bucket: str) -> None:
    cases = {case.name.encode(): case for case in corpus()}
    assert len(cases) >= 60
    put(stack, bucket, **{case.name: case.data for case in cases.values()})
    put(stack, bucket, **dict.fromkeys(KEYS, saved(photo(), "JPEG", quality=90)))
    put(stack, bucket, **{"200-megabytes.jpg": bytes(200_000_000)})
    stack.start_workers(consumers=2, cache_entries=0)
    before = pids(stack)
    job = operator.submit(f"s3://{bucket}", MODEL)
    ended, rows = operator.ended(job), operator.objects(job)
    assert ended.state == "done"
    assert rows.pop(b"200-megabytes.jpg")["reason"] == "too_large"
    odd_keys = {key: rows.pop(key.encode()) for key in KEYS}
    assert {key: row["label"] for key, row in odd_keys.items()} == dict.fromkeys(KEYS, LABEL)
    assert rows.keys() == cases.keys()
    assert {name: row for name, row in rows.items() if not is_right(cases[name], row)} == {}
    assert pids(stack) == before
    shown = operator.command("quarantine", "list", str(job), "--json", "--limit", "500").stdout.splitlines()
    assert len(shown) == ended.quarantined
    assert {json.loads(line)["reason"] for line in shown} <= set(Reason)
    operator.check("--bytes", "200")


def test_a_200_megabyte_photo_is_classified_where_the_settings_let_it(
    stack: Stack, operator: Operator, bucket: str
) -> None:
    large = saved(photo().resize((9000, 7400)), "PPM")
    assert len(large) > 190_000_000
    put(stack, bucket, large=large, small=saved(photo(), "JPEG"))
    stack.start_workers(consumers=1, object_max_bytes=300_000_000, image_max_pixels=100_000_000)
    before = pids(stack)
    job = operator.submit(f"s3://{bucket}", MODEL)
    assert operator.ended(job).done == 2
    assert {row["label"] for row in operator.objects(job).values()} == {LABEL}
    assert pids(stack) == before


@pytest.mark.parametrize("delivery", ["inline", "reference"])
def test_what_goes_or_changes_between_listing_and_reading(
    stack: Stack, operator: Operator, bucket: str, delivery: str
) -> None:
    """Whoever reads it notices: the producer, or the consumer that got a reference."""
    plain = saved(photo(), "JPEG")
    put(stack, bucket, stays=plain, replaced=b"text", emptied=plain, spoilt=plain, deleted=plain)
    job = operator.submit(f"s3://{bucket}", MODEL)
    producer = stack.add_producer(delivery=delivery)
    producer.start()
    # No consumer has asked for work yet, so nothing is read before it changes.
    until(lambda: operator.progress(job).listing_complete, "the listing")
    put(stack, bucket, replaced=plain, emptied=b"", spoilt=b"<html>gone</html>")
    stack.servers.s3.client.delete_object(Bucket=bucket, Key="deleted")
    consumer = stack.add_consumer()
    consumer.start()
    consumer.wait_ready()
    before = pids(stack)
    ended, rows = operator.ended(job), operator.objects(job)
    assert {key.decode(): row["label"] or row["reason"] for key, row in rows.items()} == {
        "stays": LABEL,
        "replaced": LABEL,
        "emptied": "empty",
        "spoilt": "not_an_image",
        "deleted": "not_found",
    }
    assert (ended.superseded, ended.done, ended.quarantined) == (3, 2, 3)
    assert pids(stack) == before
    operator.check("--bytes", "2")


def test_one_object_that_may_not_be_read(
    stack: Stack, operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Use an account that may list the bucket and read all of it except one object."""
    for name in ("s3", "users"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("VGW_IAM_DIR", str(tmp_path / "users"))
    server = S3Server(tmp_path, stack.servers.leash)
    server.start()
    server.wait_ready()
    program = Path(sys.executable).parent / "versitygw"
    admin = [program, "admin", "--access", server.access_key, "--secret", server.secret_key]
    admin += ["--endpoint-url", server.endpoint, "create-user", "--access", "reader", "--secret", "s" * 40]
    subprocess.run([*map(str, admin), "--role", "user"], check=True, capture_output=True)
    plain = saved(photo(), "JPEG")
    server.fill("shared", [("free.jpg", plain), ("forbidden.jpg", plain)])
    allow: dict[str, Any] = {"Effect": "Allow", "Principal": {"AWS": ["reader"]}}
    statements = [
        {**allow, "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::shared"},
        {**allow, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::shared/free.jpg"},
    ]
    policy = {"Version": "2012-10-17", "Statement": statements}
    server.client.put_bucket_policy(Bucket="shared", Policy=json.dumps(policy))
    # The workers use that account.
    monkeypatch.setattr(
        S3Server,
        "environment",
        {**server.environment, "AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "s" * 40},
    )
    try:
        stack.start_workers(consumers=1, s3_endpoint=server.endpoint)
        before = pids(stack)
        job = operator.submit("s3://shared", MODEL)
        assert operator.ended(job).state == "done"
        rows = operator.objects(job)
        assert rows[b"free.jpg"]["label"] == LABEL
        assert rows[b"forbidden.jpg"]["reason"] == "access_denied"
        assert pids(stack) == before
        operator.check()
    finally:
        server.stop()


def test_keys_that_no_folder_can_hold(stack: Stack, operator: Operator) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    try:
        client = boto3.client(
            "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        client.create_bucket(Bucket="odd")
        colours = {key: (number * 20, 90, 160) for number, key in enumerate(NO_PATHS)}
        files = {key: saved(Image.new("RGB", (64, 64), colour), "PNG") for key, colour in colours.items()}
        for key, data in files.items():
            client.put_object(Bucket="odd", Key=key, Body=data)
        stack.start_workers(consumers=1, s3_endpoint=endpoint)
        job = operator.submit("s3://odd")
        assert operator.ended(job).done == len(NO_PATHS)
        done = operator.command("check", "--bytes", "20", SLUICE_S3_ENDPOINT=endpoint)
        assert done.returncode == 0, done.stdout
        urls = operator.sql("SELECT url FROM results WHERE job = %s", job)
        assert {row["url"] for row in urls} == {f"s3://odd/{key}" for key in NO_PATHS}
    finally:
        server.stop()
