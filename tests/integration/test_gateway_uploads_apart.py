"""Archives sent to a gateway with all else for the test alone, which has something work, or kills some of it."""

from __future__ import annotations

import socket
import zipfile
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests

from sluice.ledger import Database
from tests.support import archives
from tests.support.archive_uploads import ASK_SECONDS, MIB, begin_raw, nothing_came_of_it, put, stored, unfinished
from tests.support.jobs_running import Operator, until
from tools.stack import Gateway, Stack


@pytest.fixture
def gateway(stack: Stack) -> Gateway:
    return stack.start_gateway(gateway_anonymous="user")


@pytest.fixture
def operator(stack: Stack) -> Iterator[Operator]:
    with Database(stack.settings) as database:
        yield Operator(stack, database)


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


def flood(connection: socket.socket) -> None:
    """Send until nobody takes it."""
    while True:
        connection.sendall(b"x" * 65536)


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
