"""Archives sent to a gateway: streamed into the bucket, a job each; whatever goes wrong leaves nothing half."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from sluice.ledger import Database
from tests.support import archives
from tests.support.archive_uploads import (
    ASK_SECONDS,
    MIB,
    LargeZip,
    begin_raw,
    nothing_came_of_it,
    put,
    stored,
    unfinished,
)
from tests.support.jobs_running import Operator, until
from tools.stack import Gateway, Servers, Stack


@pytest.fixture(scope="module")
def standing(servers: Servers) -> Iterator[Stack]:
    """Start what most tests share; nothing works off what is sent, so that it stays as it came."""
    servers.start()
    with Stack(servers, "uploads") as stack:
        stack.start_gateway(gateway_anonymous="user")
        stack.start_gateway(gateway_anonymous="user", gateway_archive_bytes=20 * MIB)
        yield stack


@pytest.fixture
def shared(standing: Stack) -> Stack:
    """Take away what earlier tests sent; what they broke off, the gateways drop by themselves."""
    until(lambda: not unfinished(standing), "the end of earlier uploads")
    for key in stored(standing):
        standing.servers.s3.client.delete_object(Bucket=f"gateway-{standing.database}", Key=key)
    with Database(standing.settings) as database:
        for table in ("jobs", "uploads", "idempotency"):
            database.run(lambda cursor, table=table: cursor.execute(f"DELETE FROM {table}"))  # type: ignore[misc]
    return standing


@pytest.fixture
def gateway(shared: Stack) -> Gateway:
    return shared.gateways[0]


@pytest.fixture
def sparing_gateway(shared: Stack) -> Gateway:
    """Return the one that takes archives of at most 20 MiB."""
    return shared.gateways[1]


@pytest.fixture
def operator(shared: Stack) -> Iterator[Operator]:
    with Database(shared.settings) as database:
        yield Operator(shared, database)


def test_asked_too_early_it_says_how_far_it_is(gateway: Gateway) -> None:
    upload = put(gateway, "later.tar", archives.tarred(archives.tiles(3))).json()
    early = requests.get(f"{gateway.url}/api/v1/uploads/{upload['id']}/prediction.json", timeout=ASK_SECONDS)
    assert early.status_code == 409
    assert early.headers["content-type"] == "application/problem+json"
    assert early.json()["detail"].startswith("Data is being preprocessed. Try again later. It waits for its turn.")
    assert int(early.headers["retry-after"]) > 0


def test_a_form_is_taken_as_a_stream_too(shared: Stack, operator: Operator, gateway: Gateway) -> None:
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
    (key,) = stored(shared)
    assert shared.servers.s3.client.get_object(Bucket=f"gateway-{shared.database}", Key=key)["Body"].read() == data
    (job,) = operator.sql("SELECT source, model, priority FROM jobs")
    assert (job["source"], job["model"], job["priority"]) == (f"s3://gateway-{shared.database}/{key}", model, -7)


def test_a_large_archive_passes_through_little_memory(shared: Stack) -> None:
    """A gateway's of its own: what others sent before is no part of it."""
    size = 160 * MIB
    gateway = shared.start_gateway(gateway_anonymous="user")
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
    head = shared.servers.s3.client.head_object(Bucket=f"gateway-{shared.database}", Key=stored(shared)[0])
    assert head["ContentLength"] == size
    assert max(most, process.memory_info().rss) < 250 * MIB


def test_what_is_no_archive_is_refused_by_its_first_bytes(shared: Stack, operator: Operator, gateway: Gateway) -> None:
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
    nothing_came_of_it(shared, operator)


@pytest.mark.parametrize("declared", [True, False])
def test_what_is_too_large_is_refused(
    shared: Stack, operator: Operator, sparing_gateway: Gateway, *, declared: bool
) -> None:
    source = LargeZip(40 * MIB)
    refused = put(sparing_gateway, "large.zip", source if declared else iter(lambda: source.read(MIB), b""))
    assert refused.status_code == 413, refused.text
    assert "bytes at most" in refused.json()["detail"]
    nothing_came_of_it(shared, operator)


def test_forms_that_can_not_be_read_are_refused(shared: Stack, operator: Operator, gateway: Gateway) -> None:
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
    nothing_came_of_it(shared, operator)


def test_a_client_that_goes_away_leaves_nothing(shared: Stack, operator: Operator, gateway: Gateway) -> None:
    connection = begin_raw(gateway, "half.zip", 40 * MIB)
    until(lambda: unfinished(shared), "the begin of the upload")
    connection.close()
    nothing_came_of_it(shared, operator)


def test_more_uploads_at_once_than_are_taken_are_told_when_to_come_back(shared: Stack, gateway: Gateway) -> None:
    held = [begin_raw(gateway, f"{number}.zip", 2 * MIB) for number in range(2)]
    until(lambda: len(unfinished(shared)) == 2, "both uploads' begin")
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


def test_no_upload_is_found_by_another_id(gateway: Gateway) -> None:
    for path, status in (("0" * 32, 404), (f"{'0' * 32}/prediction.json", 404), ("x", 422)):
        answer = requests.get(f"{gateway.url}/api/v1/uploads/{path}", timeout=ASK_SECONDS)
        assert answer.status_code == status, answer.text
        assert json.loads(answer.text)["status"] == status
    assert requests.get(f"{gateway.url}/api/v1/uploads", timeout=ASK_SECONDS).json() == {"uploads": [], "next": None}
