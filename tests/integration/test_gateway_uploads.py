"""Archives sent to a gateway: streamed into the bucket, a job each; whatever goes wrong leaves nothing half."""

from __future__ import annotations

import io
import json
import os
import socket
import zipfile
from collections.abc import Iterator
from typing import IO, Final
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from sluice.ledger import Database
from tests.support import archives
from tests.support.jobs_running import Operator, until
from tools.stack import Gateway, Stack

MIB: Final = 1024 * 1024
ASK_SECONDS: Final = 120


@pytest.fixture
def operator(stack: Stack) -> Iterator[Operator]:
    with Database(stack.settings) as database:
        yield Operator(stack, database)


@pytest.fixture
def gateway(stack: Stack) -> Gateway:
    return stack.start_gateway(gateway_anonymous="user")


def put(gateway: Gateway, name: str, data: bytes | IO[bytes] | Iterator[bytes], **headers: str) -> requests.Response:
    return requests.put(f"{gateway.url}/api/v1/uploads/{name}", data=data, headers=headers, timeout=ASK_SECONDS)


def stored(stack: Stack) -> list[str]:
    """Return the keys in the gateway's bucket."""
    found = stack.servers.s3.client.list_objects_v2(Bucket=f"gateway-{stack.database}")
    return [each["Key"] for each in found.get("Contents", [])]


def unfinished(stack: Stack) -> list[str]:
    """Return the keys of multipart uploads that are under way."""
    found = stack.servers.s3.client.list_multipart_uploads(Bucket=f"gateway-{stack.database}")
    return [each["Key"] for each in found.get("Uploads", [])]


def nothing_came_of_it(stack: Stack, operator: Operator) -> None:
    until(lambda: not unfinished(stack), "the end of the multipart upload")
    assert stored(stack) == []
    assert operator.sql("SELECT id FROM jobs") == []
    assert operator.sql("SELECT id FROM uploads") == []


class LargeZip(io.RawIOBase):
    """A stored zip of one picture and much that is none, made while it is read."""

    def __init__(self, size: int) -> None:
        self._head = archives.zipped(archives.tiles(3))
        self.size = size
        self._at = 0
        self._block = os.urandom(MIB)

    def __len__(self) -> int:
        return self.size

    def read(self, size: int = -1) -> bytes:
        if self._at >= self.size:
            return b""
        # A program may stand before a zip, and anything behind its first bytes: only the directory's end counts.
        left = min(size if size > 0 else MIB, self.size - self._at)
        data = (self._head[:100] if self._at == 0 else self._block)[:left]
        self._at += len(data)
        return data


def test_an_archive_becomes_a_job_and_its_members_predictions(
    stack: Stack, operator: Operator, gateway: Gateway
) -> None:
    files = archives.tiles(25, "a/b ü/")
    stack.start_workers(consumers=1)
    sent = put(gateway, "holiday.zip", archives.zipped(files))
    assert sent.status_code == 201, sent.text
    upload = sent.json()
    assert (upload["name"], upload["state"], upload["size"]) == ("holiday.zip", "pending", len(archives.zipped(files)))
    asked = f"{gateway.url}/api/v1/uploads/{upload['id']}"
    operator.ended(upload["job"])
    now = requests.get(asked, timeout=ASK_SECONDS).json()
    assert (now["state"], now["listed"], now["done"], now["listing_complete"]) == ("done", 25, 25, True)
    answer = requests.get(f"{asked}/prediction.json", timeout=ASK_SECONDS)
    assert answer.headers["content-disposition"] == "attachment; filename=prediction.json"
    found = answer.json()
    assert list(found) == ["holiday.zip"]
    assert [name for name, _ in found["holiday.zip"]] == sorted(files)
    for _, top in found["holiday.zip"]:
        assert len(top) == 10
        assert all(isinstance(score, float) and " " not in label for label, score in top)
    operator.check("--bytes", "25")


def test_asked_too_early_it_says_how_far_it_is(gateway: Gateway) -> None:
    upload = put(gateway, "later.tar", archives.tarred(archives.tiles(3))).json()
    early = requests.get(f"{gateway.url}/api/v1/uploads/{upload['id']}/prediction.json", timeout=ASK_SECONDS)
    assert early.status_code == 409
    assert early.headers["content-type"] == "application/problem+json"
    assert early.json()["detail"].startswith("Data is being preprocessed. Try again later. It waits for its turn.")
    assert int(early.headers["retry-after"]) > 0


def test_a_form_is_taken_as_a_stream_too(stack: Stack, operator: Operator, gateway: Gateway) -> None:
    data = archives.zipped(archives.tiles(3))
    model = operator.sql("SELECT CONCAT(name, '@', version) AS spec FROM models WHERE live = 1")[0]["spec"]
    sent = requests.post(
        f"{gateway.url}/api/v1/uploads",
        data={"model": model, "priority": "-7"},
        files={"file": ("C:\\pictures\\holiday.ZIP", data)},
        timeout=ASK_SECONDS,
    )
    assert sent.status_code == 201, sent.text
    assert sent.json()["name"] == "holiday.ZIP"
    (key,) = stored(stack)
    assert stack.servers.s3.client.get_object(Bucket=f"gateway-{stack.database}", Key=key)["Body"].read() == data
    (job,) = operator.sql("SELECT source, model, priority FROM jobs")
    assert (job["source"], job["model"], job["priority"]) == (f"s3://gateway-{stack.database}/{key}", model, -7)


def test_a_large_archive_passes_through_little_memory(stack: Stack, gateway: Gateway) -> None:
    size = 160 * MIB
    assert gateway.pid is not None
    process = psutil.Process(gateway.pid)
    most = 0

    def watched() -> Iterator[bytes]:
        nonlocal most
        source = LargeZip(size)
        while block := source.read(MIB):
            most = max(most, process.memory_info().rss)
            yield block

    sent = put(gateway, "large.zip", watched())
    assert sent.status_code == 201, sent.text
    assert sent.json()["size"] == size
    head = stack.servers.s3.client.head_object(Bucket=f"gateway-{stack.database}", Key=stored(stack)[0])
    assert head["ContentLength"] == size
    assert max(most, process.memory_info().rss) < 250 * MIB


def test_what_is_no_archive_is_refused_by_its_first_bytes(stack: Stack, operator: Operator, gateway: Gateway) -> None:
    tar, packed = archives.tarred(archives.tiles(2)), archives.zipped(archives.tiles(2))
    for name, data, said in (
        ("holiday.zip", archives.tile(1), "no zip or tar"),
        ("holiday.zip", b"", "0 bytes"),
        ("holiday.zip", tar, "is a tar"),
        ("holiday.tar", packed, "is a zip"),
        ("holiday.tar.gz", packed, "compressed as a whole"),
        ("holiday.jpg", packed, "no archive's name"),
        (".zip", packed, "no archive's name"),
    ):
        refused = put(gateway, name, data)
        assert refused.status_code == 415, refused.text
        assert said in refused.json()["detail"]
    nothing_came_of_it(stack, operator)


@pytest.mark.parametrize("declared", [True, False])
def test_what_is_too_large_is_refused(stack: Stack, operator: Operator, *, declared: bool) -> None:
    gateway = stack.start_gateway(gateway_anonymous="user", gateway_archive_bytes=20 * MIB)
    source = LargeZip(40 * MIB)
    refused = put(gateway, "large.zip", source if declared else iter(lambda: source.read(MIB), b""))
    assert refused.status_code == 413, refused.text
    assert "bytes at most" in refused.json()["detail"]
    nothing_came_of_it(stack, operator)


def test_forms_that_can_not_be_read_are_refused(stack: Stack, operator: Operator, gateway: Gateway) -> None:
    url = f"{gateway.url}/api/v1/uploads"
    form = {"Content-Type": "multipart/form-data; boundary=cut"}
    zipped = archives.zipped(archives.tiles(2))
    begin = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n' + zipped
    two = begin + b"\r\n" + begin + b"\r\n--cut--\r\n"
    for body, headers, said in (
        (b"not a form", form, "can't be read"),
        (begin, form, "ends in its middle"),
        (two, form, "several files"),
        (b"--cut--\r\n", form, ""),
        (begin, {"Content-Type": "multipart/form-data"}, "no boundary"),
        (b'--cut\r\nContent-Disposition: form-data; name="model"\r\n\r\n' + b"x" * 5000, form, "4096 bytes"),
    ):
        refused = requests.post(url, data=body, headers=headers, timeout=ASK_SECONDS)
        assert refused.status_code == 400, (body[:200], refused.text)
        assert said in refused.json()["detail"]
    for fields, status in (({"model": "nobody@9"}, 404), ({"priority": "1e3"}, 422), ({"model": "m" * 98}, 422)):
        refused = requests.post(url, data=fields, files={"file": ("a.zip", zipped)}, timeout=ASK_SECONDS)
        assert refused.status_code == status, refused.text
    nothing_came_of_it(stack, operator)


def begin_raw(gateway: Gateway, name: str, size: int) -> socket.socket:
    """Begin an upload of so many bytes, and send half of them."""
    host, _, port = urlsplit(gateway.url).netloc.partition(":")
    connection = socket.create_connection((host, int(port)), ASK_SECONDS)
    connection.sendall(
        f"PUT /api/v1/uploads/{name} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\n\r\n".encode()
    )
    source = LargeZip(size // 2)
    while block := source.read(MIB):
        connection.sendall(block)
    return connection


def flood(connection: socket.socket) -> None:
    """Send until nobody takes it."""
    while True:
        connection.sendall(b"x" * 65536)


def test_a_client_that_goes_away_leaves_nothing(stack: Stack, operator: Operator, gateway: Gateway) -> None:
    connection = begin_raw(gateway, "half.zip", 40 * MIB)
    until(lambda: unfinished(stack), "the begin of the upload")
    connection.close()
    nothing_came_of_it(stack, operator)


def test_a_gateway_killed_in_an_upload_leaves_parts_that_the_next_one_drops(
    stack: Stack, operator: Operator, gateway: Gateway
) -> None:
    connection = begin_raw(gateway, "half.zip", 40 * MIB)
    until(lambda: unfinished(stack), "the begin of the upload")
    gateway.kill()
    with connection, pytest.raises((ConnectionResetError, BrokenPipeError)):
        flood(connection)
    assert stored(stack) == []
    assert operator.sql("SELECT id FROM jobs") == []
    gateway.start()
    gateway.wait_ready()
    # What is younger than a day may be another gateway's.
    assert len(unfinished(stack)) == 1
    assert put(gateway, "half.zip", archives.zipped(archives.tiles(3))).status_code == 201


def test_more_uploads_at_once_than_are_taken_are_told_when_to_come_back(stack: Stack, gateway: Gateway) -> None:
    held = [begin_raw(gateway, f"{number}.zip", 2 * MIB) for number in range(2)]
    until(lambda: len(unfinished(stack)) == 2, "both uploads' begin")
    refused = put(gateway, "third.zip", archives.zipped(archives.tiles(3)))
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    for connection in held:
        connection.close()
    until(lambda: put(gateway, "third.zip", archives.zipped(archives.tiles(3))).status_code == 201, "room again")


def test_a_key_is_answered_once(operator: Operator, gateway: Gateway) -> None:
    data = archives.zipped(archives.tiles(3))
    key = {"Idempotency-Key": "a-holiday"}
    first = put(gateway, "holiday.zip", data, **key)
    again = put(gateway, "holiday.zip", data, **key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert put(gateway, "other.zip", data, **key).status_code == 422
    assert put(gateway, "holiday.zip", data + b"more", **key).status_code == 422
    assert put(gateway, "holiday.zip", data, **{"Idempotency-Key": "k" * 256}).status_code == 400
    assert len(operator.sql("SELECT id FROM jobs")) == 1
    # A request that came to nothing may be sent again under its key.
    refused = {"Idempotency-Key": "refused"}
    assert put(gateway, "holiday.zip", b"no zip", **refused).status_code == 415
    assert put(gateway, "holiday.zip", data, **refused).status_code == 201
    # An upload that is under way has its key; a key is free again a day after its answer.
    host, _, port = urlsplit(gateway.url).netloc.partition(":")
    with socket.create_connection((host, int(port)), ASK_SECONDS) as connection:
        connection.sendall(
            f"PUT /api/v1/uploads/holiday.zip HTTP/1.1\r\nHost: {host}\r\nIdempotency-Key: slow\r\n"
            f"Content-Length: {len(data)}\r\n\r\n".encode()
        )
        until(lambda: operator.sql("SELECT 1 FROM idempotency WHERE status IS NULL"), "the key's row")
        running = put(gateway, "holiday.zip", data, **{"Idempotency-Key": "slow"})
        assert running.status_code == 409
        assert int(running.headers["retry-after"]) > 0
    operator.sql("UPDATE idempotency SET created = created - INTERVAL 25 HOUR")
    assert put(gateway, "other.zip", data, **key).status_code == 201


def test_a_database_that_is_away_leaves_nothing(stack: Stack, operator: Operator, gateway: Gateway) -> None:
    host, _, port = urlsplit(gateway.url).netloc.partition(":")
    data = archives.zipped(archives.tiles(40), zipfile.ZIP_STORED)
    with socket.create_connection((host, int(port)), ASK_SECONDS) as connection:
        head = f"PUT /api/v1/uploads/holiday.zip HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data[:1000])
        until(lambda: unfinished(stack), "the begin of the upload")
        stack.servers.database.kill()
        connection.sendall(data[1000:])
        answer = connection.recv(65536).decode()
    stack.servers.start(stack.servers.database)
    assert answer.startswith("HTTP/1.1 503 "), answer
    nothing_came_of_it(stack, operator)


def test_no_upload_is_found_by_another_id(gateway: Gateway) -> None:
    for path, status in (("0" * 32, 404), (f"{'0' * 32}/prediction.json", 404), ("x", 422)):
        answer = requests.get(f"{gateway.url}/api/v1/uploads/{path}", timeout=ASK_SECONDS)
        assert answer.status_code == status, answer.text
        assert json.loads(answer.text)["status"] == status
    assert requests.get(f"{gateway.url}/api/v1/uploads", timeout=ASK_SECONDS).json() == {"uploads": [], "next": None}


def signed_in(gateway: Gateway, email: str, password: str) -> dict[str, str]:
    """Return the header of somebody who is signed in."""
    form = {"username": email, "password": password}
    answer = requests.post(f"{gateway.url}/login", data=form, timeout=ASK_SECONDS)
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def test_people_see_their_own_uploads_the_newest_first(stack: Stack, operator: Operator) -> None:
    gateway = stack.start_gateway(gateway_classic=True, gateway_signup="open")
    url, password = f"{gateway.url}/api/v1/uploads", "a long enough word"
    people = []
    for name in ("ada", "bob"):
        account = {"name": name, "email": f"{name}@example.com", "password": password}
        assert requests.post(f"{gateway.url}/user/", json=account, timeout=ASK_SECONDS).status_code == 201
        people.append(signed_in(gateway, account["email"], password))
    ada, bob = people
    data = archives.zipped(archives.tiles(1))
    ids = [put(gateway, f"{number}.zip", data, **ada).json()["id"] for number in range(3)]
    first = requests.get(url, params={"limit": 2}, headers=ada, timeout=ASK_SECONDS).json()
    assert [(each["id"], each["state"]) for each in first["uploads"]] == [(each, "pending") for each in ids[:0:-1]]
    more = {"limit": 2, "before": first["next"]}
    last = requests.get(url, params=more, headers=ada, timeout=ASK_SECONDS).json()
    assert ([each["id"] for each in last["uploads"]], last["next"]) == (ids[:1], None)
    assert requests.get(url, headers=bob, timeout=ASK_SECONDS).json() == {"uploads": [], "next": None}
    assert requests.get(url, params=more, headers=bob, timeout=ASK_SECONDS).json() == {"uploads": [], "next": None}
    until(lambda: operator.sql("SELECT id FROM users WHERE role = 'admin'"), "the first admin")
    admin = signed_in(gateway, stack.settings.gateway_admin, stack.admin_password)
    for path in ("", "/results", "/prediction.json"):
        asked = f"{url}/{ids[0]}{path}"
        assert requests.get(asked, headers=bob, timeout=ASK_SECONDS).status_code == 404
        assert requests.get(asked, headers=ada, timeout=ASK_SECONDS).status_code == (409 if path else 200)
        assert requests.get(asked, headers=admin, timeout=ASK_SECONDS).status_code == (409 if path else 200)
        assert requests.get(asked, timeout=ASK_SECONDS).status_code == 401
    assert put(gateway, "a.zip", data).status_code == 401
    # A key is a person's own.
    key = {"Idempotency-Key": "the same"}
    mine, theirs = (put(gateway, "k.zip", data, **who, **key).json()["id"] for who in (ada, bob))
    assert mine != theirs
