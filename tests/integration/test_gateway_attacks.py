"""Attacks on two real gateways by other sites, by names and by requests that no browser sends."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.support.gateway_house import House, open_house
from tests.support.gateway_visitors import PASSWORD, TIMEOUT, Visitor
from tools.stack import Servers


@pytest.fixture(scope="module")
def house(servers: Servers) -> Iterator[House]:
    """Open the house for this module's tests."""
    with open_house(servers, "attacks") as house:
        yield house


CROSS_SITE = {
    "no origin": {"Origin": None},
    "foreign origin": {"Origin": "https://evil.example"},
    "null origin": {"Origin": "null"},
    "a port of another service": {"Origin": "http://127.0.0.1:1"},
    "our name within another": {"Origin": "http://127.0.0.1.evil.example"},
    "cross-site": {"Origin": None, "Sec-Fetch-Site": "cross-site"},
    "same-site": {"Origin": None, "Sec-Fetch-Site": "same-site"},
    "foreign referrer": {"Origin": None, "Referer": "https://evil.example/page"},
}


@pytest.mark.parametrize("how", CROSS_SITE)
@pytest.mark.parametrize(("method", "path"), [("PATCH", "/api/v1/users/me"), ("POST", "/account/name")])
def test_another_sites_request_is_refused(house: House, how: str, method: str, path: str) -> None:
    body = {"json": {"name": "stolen"}} if method == "PATCH" else {"data": {"csrf": house.ada.csrf("/account")}}
    assert house.ada.send(method, path, headers=CROSS_SITE[how], **body).status_code == 403
    assert house.ada.get("/api/v1/users/me").json()["name"] == "ada"


@pytest.mark.parametrize("token", ["", "made up", "another person's", "a stranger's"])
@pytest.mark.parametrize("path", ["/account/name", "/account/tokens", "/account/sessions/end", "/logout", "/"])
def test_a_form_without_its_token_is_refused(house: House, path: str, token: str) -> None:
    of = {
        "another person's": lambda: house.bob.csrf("/account"),
        "a stranger's": lambda: Visitor(house.url).csrf("/login"),
    }
    said = of[token]() if token in of else token
    answer = house.ada.send("POST", path, data={"csrf": said, "name": "stolen"})
    assert answer.status_code == 403
    assert house.ada.get("/api/v1/users/me").json()["name"] == "ada"


def test_nobody_is_signed_in_by_another_sites_form(house: House) -> None:
    fields = {"email": "bob@example.com", "password": PASSWORD}
    assert Visitor(house.url).send("POST", "/login", data=fields).status_code == 403
    victim = Visitor(house.url)
    fields["csrf"] = Visitor(house.url).csrf("/login")
    assert victim.send("POST", "/login", data=fields).status_code == 403


def test_where_sign_up_is_closed_nobody_signs_up(house: House) -> None:
    visitor = Visitor(house.url)
    assert visitor.get("/signup").status_code == 404
    fields = {"name": "mallet", "email": "mallet@example.com", "password": PASSWORD}
    assert visitor.submit("/login", "/signup", **fields).status_code == 404
    assert visitor.submit("/login", email=fields["email"], password=PASSWORD).status_code == 401


def test_a_name_is_shown_as_text(house: House) -> None:
    name = "<script>alert(1)</script>\"'>"
    house.add("mallory")
    mallory = house.visitor("mallory")
    assert mallory.send("PATCH", "/api/v1/users/me", json={"name": name}).status_code == 200
    for answer in (mallory.get("/account"), house.admin.get("/users")):
        assert "&lt;script&gt;" in answer.text
        assert "<script>alert" not in answer.text


@pytest.mark.parametrize("path", ["/login", "/account", "/api/v1/users/me", "/nothing", "/static/style.css"])
def test_each_answer_has_safe_headers(house: House, path: str) -> None:
    headers = house.ada.get(path).headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers
    if not path.startswith("/static"):
        assert headers["cache-control"] == "no-store"


def test_the_pages_have_no_inline_script_or_style(house: House) -> None:
    for path in ("/login", "/account", "/users"):
        text = house.admin.get(path).text
        assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", text) == []


def test_cookies_are_kept_from_scripts_and_other_sites(house: House) -> None:
    visitor = Visitor(house.url)
    form = visitor.get("/login")
    token = re.findall(r'name="csrf" value="(\w+)"', form.text)[0]
    fields = {"csrf": token, "email": "bob@example.com", "password": PASSWORD}
    answer = visitor.send("POST", "/login", data=fields)
    for set_here in (form.headers["set-cookie"], answer.headers["set-cookie"]):
        flags = {flag.strip().lower() for flag in set_here.split(";")[1:]}
        assert {"httponly", "samesite=lax", "path=/"} <= flags
        assert not any(flag.startswith("domain") for flag in flags)


@pytest.mark.parametrize(
    "asked",
    ["https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)",
     "/x\r\nSet-Cookie: a=b", "///evil.example", "http:/evil.example", " //evil.example", "/\t/evil.example"],
)  # fmt: skip
def test_signing_in_leads_to_no_other_site(house: House, asked: str) -> None:
    visitor = Visitor(house.url)
    answer = visitor.submit("/login", email="bob@example.com", password=PASSWORD, next=asked)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert (
        visitor.session.get(
            f"{house.url}/login", params={"next": asked}, allow_redirects=False, timeout=TIMEOUT
        ).headers["location"]
        == "/"
    )


@pytest.mark.parametrize("extra", [{"role": "admin"}, {"active": True}, {"id": 1}, {"email": "x@example.com"}])
def test_people_give_themselves_nothing(house: House, extra: dict[str, object]) -> None:
    assert house.ada.send("PATCH", "/api/v1/users/me", json={"name": "ada", **extra}).status_code == 422
    assert house.ada.submit("/account", "/account/name", name="ada", role="admin").status_code == 303
    assert house.ada.get("/api/v1/users/me").json()["role"] == "user"


@pytest.mark.parametrize("host", ["", "a b", "evil.example/x", 'evil"x', "[::1"])
def test_a_header_host_that_names_none_is_refused(house: House, host: str) -> None:
    assert raw(house.url, f"GET /login HTTP/1.1\r\nHost: {host}\r\n\r\n").startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /login HTTP/1.1\r\nHost: {host}\r\nX-Much: " + "x" * 40_000 + "\r\n\r\n", 431),
        ("GET /login HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n\r\n", 400),
        ("POST /login HTTP/1.1\r\nHost: {host}\r\nContent-Length: 99999999999\r\n\r\n", 413),
        ("PATCH /api/v1/users/me HTTP/1.1\r\nHost: {host}\r\nContent-Length: 300000\r\n\r\n", 413),
        ("POST /login HTTP/1.1\r\nHost: {host}\r\nContent-Length: -1\r\n\r\n", 400),
    ],
    ids=["header", "two hosts", "body", "json", "negative"],
)
def test_what_is_too_large_is_refused_before_it_is_read(house: House, head: str, status: int) -> None:
    host = urlsplit(house.url).netloc
    assert raw(house.url, head.replace("{host}", host)).startswith(f"HTTP/1.1 {status}".encode())


def test_nobody_gets_a_websocket(house: House) -> None:
    """It would be a connection without the bounds that others have."""
    head = (
        f"GET /login HTTP/1.1\r\nHost: {urlsplit(house.url).netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert raw(house.url, head).startswith(b"HTTP/1.1 200")


def test_a_body_that_grows_beyond_the_bound_is_refused(house: House) -> None:
    chunk = "10000\r\n" + "x" * 0x10000 + "\r\n"
    host = urlsplit(house.url).netloc
    head = (
        f"PATCH /api/v1/users/me HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n"
        "Content-Type: application/json\r\n\r\n"
    )
    assert raw(house.url, head + chunk * 6).startswith(b"HTTP/1.1 413")


def test_a_form_with_too_many_parts_is_refused(house: House) -> None:
    files = [("file", (f"{number}.jpg", b"x")) for number in range(50)]
    answer = house.ada.send("POST", "/", files=files)
    assert answer.status_code in {400, 413}
    fields = {f"field{number}": "x" for number in range(100)}
    assert Visitor(house.url).send("POST", "/login", data=fields).status_code in {400, 413}


def test_no_secret_and_no_query_is_logged(house: House) -> None:
    house.ada.get("/login?next=/secret-in-a-query")
    house.ada.get("/%0d%0aforged=line")
    log = house.stack.gateways[0].log.read_text()
    assert "did='signed in'" in log
    for secret in (
        "secret-in-a-query",
        PASSWORD,
        house.stack.admin_password,
        house.ada.session.cookies["sluice-session"],
        "sluice_",
    ):
        assert secret not in log
    assert "\nforged=line" not in log


def raw(url: str, text: str) -> bytes:
    """Send bytes as they are; return how the answer begins."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), TIMEOUT) as peer:
        peer.settimeout(TIMEOUT)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            peer.sendall(text.encode())
        return peer.recv(64)
