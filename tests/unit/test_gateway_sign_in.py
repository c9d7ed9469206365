"""Parts of the gateway's doors that need no server: keys, rates, throttle, origins, proxies, bodies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from gateway.doors.bodies import Bodies
from gateway.doors.cookies import OIDC
from gateway.doors.keys import GatewayKeys
from gateway.doors.oidc import CompanyPerson, CompanySignIn
from gateway.doors.origins import address_of, origin_of, safe_path
from gateway.doors.passwords import Passwords, check_first_password
from gateway.doors.proxies import TrustedProxies
from gateway.doors.rates import Rates
from gateway.doors.remembered import Remembered
from sluice.domain.accounts import check_password
from sluice.errors import ConfigurationError, RequestError
from sluice.ledger.sessions import Attempts
from sluice.settings import read_settings


class CountingHasher(Argon2Hasher):
    """Counts what is verified."""

    verified = 0

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:  # noqa: A002 - its base's name
        self.verified += 1
        return super().verify(password, hash)


def a_request(**headers: str) -> Request:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": named, "client": ("10.0.0.9", 1)})


def test_a_short_key_is_refused_and_none_is_made_for_this_process() -> None:
    with pytest.raises(ConfigurationError, match="has 5 characters"):
        GatewayKeys(read_settings(gateway_key="short"))
    one, other = GatewayKeys(read_settings()), GatewayKeys(read_settings())
    assert other.read("session", one.sign("session", {}, 60)) is None
    assert one.read("session", one.sign("session", {"sub": "7"}, 60))["sub"] == "7"  # type: ignore[index]
    assert one.read("access", one.sign("session", {"sub": "7"}, 60)) is None


@pytest.mark.parametrize("email", ["", " ", f"{'a' * 250}@example.com", f"{'İ' * 127}@x"])
def test_an_address_that_no_account_can_have_is_refused(monkeypatch: pytest.MonkeyPatch, email: str) -> None:
    """A capital letter may become two small ones."""

    async def ask(*_: object) -> CompanyPerson:
        return CompanyPerson("someone", email, is_verified=True, name="Someone")

    settings = read_settings(
        gateway_oidc_issuer="https://id.example.com", gateway_oidc_client="sluice", gateway_url="https://example.com"
    )
    keys = GatewayKeys(settings)
    monkeypatch.setattr(CompanySignIn, "_ask", ask)
    company = CompanySignIn(settings, keys, cast("Any", None))
    kept = keys.sign("oidc", {"state": "s", "nonce": "n", "verifier": "v", "next": "/"}, 60)
    request = a_request(cookie=f"{OIDC}={kept}")
    request.scope["query_string"] = b"state=s&code=c"
    with pytest.raises(RequestError, match="too long"):
        asyncio.run(company.finish(request))


def test_somebody_is_signed_in_whatever_the_clock_says_of_the_replica_that_signed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may be some seconds before the others' clocks, and clocks are set back."""
    keys, now = GatewayKeys(read_settings()), time.time()
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time", lambda: now + 30)
        signed = keys.sign("session", {"sub": "7"}, 60)
    assert keys.read("session", signed)
    with monkeypatch.context() as long_ago:
        long_ago.setattr(time, "time", lambda: now - 61)
        signed = keys.sign("session", {"sub": "7"}, 60)
    assert keys.read("session", signed) is None


def test_an_unknown_person_costs_the_same_work_as_a_wrong_password() -> None:
    hasher = CountingHasher(time_cost=1, memory_cost=64)
    passwords = Passwords(PasswordHash((hasher,)))

    async def both() -> tuple[bool, bool, bool]:
        known = await passwords.hash("the right one")
        return (
            await passwords.verify("a wrong one", known),
            await passwords.verify("a wrong one", None),
            await passwords.verify("nobody has this password", None),
        )

    assert asyncio.run(both()) == (False, False, False)
    assert hasher.verified == 3
    passwords.close()


@pytest.mark.parametrize("password", ["short", "x" * 201, "aaaaaaaaaaaa", "Ada@example.com"])
def test_a_password_that_is_easy_to_guess_is_refused(password: str) -> None:
    with pytest.raises(ConfigurationError):
        check_password(password, "ada@example.com")


@pytest.mark.parametrize("password", ["admin", "x" * 201, "Admin@localhost"])
def test_the_first_admins_password_is_no_easier_than_others(password: str) -> None:
    with pytest.raises(ConfigurationError, match="SLUICE_GATEWAY_ADMIN_PASSWORD"):
        check_first_password(read_settings(gateway_admin_password=password))
    check_first_password(read_settings(gateway_admin_password="a long enough one"))
    check_first_password(read_settings())


def test_who_fails_often_waits_twice_as_long_each_time() -> None:
    limit = Attempts(b"", 5, 60)
    assert [limit.wait_after(failures) for failures in (0, 4, 5, 6, 7, 20, 10**6)] == [0, 0, 1, 2, 4, 60, 60]


def test_a_minutes_worth_may_come_at_once_then_one_by_one() -> None:
    now = 100.0
    rates = Rates(6, clock=lambda: now)
    assert [rates.take("a") for _ in range(6)] == [0.0] * 6
    assert rates.take("a") == pytest.approx(10)
    assert rates.take("b") == 0
    now = 110.0
    assert rates.take("a") == 0
    assert rates.take("a") > 0
    rates.give_back("a")
    assert rates.take("a") == 0


def test_no_rate_is_no_limit_and_what_is_kept_has_a_bound() -> None:
    assert not any(Rates(0).take("a") for _ in range(1000))
    rates = Rates(1, most=2, clock=lambda: 0.0)
    for key in "abc":
        rates.take(key)
    assert len(rates._paid) == 2


@pytest.mark.parametrize(
    ("headers", "url", "origin"),
    [
        ({"host": "s:8000", "origin": "http://s:8000"}, None, "ours"),
        ({"host": "s", "origin": "https://s"}, None, "ours"),
        ({"host": "s", "origin": "https://S:443"}, "https://s", "ours"),
        ({"host": "s", "origin": "http://s"}, "https://s", "foreign"),
        ({"host": "s", "origin": "null"}, None, "foreign"),
        ({"host": "s", "origin": "http://[s"}, None, "foreign"),
        ({"host": "s", "sec_fetch_site": "same-origin"}, None, "ours"),
        ({"host": "s", "sec_fetch_site": "same-site"}, None, "foreign"),
        ({"host": "s", "referer": "http://s/x"}, None, "ours"),
        ({"host": "s", "referer": "http://t/s"}, None, "foreign"),
        ({"host": "s"}, None, "unsaid"),
    ],
)
def test_a_page_is_ours_only_if_the_browser_says_so(headers: dict[str, str], url: str | None, origin: str) -> None:
    assert origin_of(a_request(**headers), url) == origin


@pytest.mark.parametrize("asked", ["/", "/jobs?x=1", "/jobs/7#top"])
def test_pages_of_ours_may_come_next(asked: str) -> None:
    assert safe_path(asked) == asked


@pytest.mark.parametrize(
    "asked", ["", "x", "//x", "/\\x", "https://x", "javascript:x", "/x\ny", "/x y", "/\u00e9", "//[x"]
)
def test_no_other_place_comes_next(asked: str) -> None:
    assert safe_path(asked) == "/"


@pytest.mark.parametrize(
    ("client", "said", "address"),
    [
        ("10.0.0.9", "203.0.113.5", "203.0.113.5"),
        ("10.0.0.9", "198.51.100.1, 203.0.113.5, 10.0.0.7", "203.0.113.5"),
        ("10.0.0.9", "evil, 10.0.0.7", "10.0.0.7"),
        ("10.0.0.9", "", "10.0.0.9"),
        ("192.0.2.1", "203.0.113.5", "192.0.2.1"),
    ],
)
def test_only_trusted_proxies_say_who_the_client_is(client: str, said: str, address: str) -> None:
    headers = [(b"x-forwarded-for", said.encode()), (b"x-forwarded-proto", b"https")]
    scope: Scope = {"type": "http", "scheme": "http", "client": (client, 1), "headers": headers}
    TrustedProxies(["10.0.0.0/8"]).correct(scope)
    assert scope["client"][0] == address
    assert scope["scheme"] == ("https" if client.startswith("10.") else "http")


def test_people_with_ipv6_are_counted_by_their_network() -> None:
    request = a_request()
    request.scope["client"] = ("2001:db8::1", 1)
    assert address_of(request) == "2001:db8::/64"
    request.scope["client"] = ("::ffff:192.0.2.1", 1)
    assert address_of(request) == "192.0.2.1"


def test_what_is_remembered_is_asked_once_and_anew_when_old_or_forgotten() -> None:
    asked, now = [], 0.0

    async def look_up(key: str) -> str:
        asked.append(key)
        await asyncio.sleep(0)
        return key

    async def use() -> None:
        nonlocal now
        remembered = Remembered(look_up, 3.0, most=2, clock=lambda: now)
        await asyncio.gather(*(remembered.get("a") for _ in range(5)))
        assert (asked, remembered.peek("a")) == (["a"], "a")
        now = 3.0
        assert remembered.peek("a") is None
        await remembered.get("a")
        remembered.forget("a")
        await remembered.get("a")
        assert asked == ["a"] * 3
        for key in "bc":
            await remembered.get(key)
        assert len(remembered._found) == 2

    asyncio.run(use())


def bounded(messages: Iterator[Message] | None, most: int = 10) -> list[bytes]:
    """Return what an application receives of a body; no messages: the sender is silent for ever."""
    received: list[bytes] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, send
        more = True
        while more:
            message = await receive()
            received.append(message["body"])
            more = message.get("more_body", False)

    async def receive() -> Message:
        if messages is None:
            await asyncio.Event().wait()
            raise AssertionError
        return next(messages)

    async def send(message: Message) -> None:
        raise AssertionError(message)

    bodies = Bodies(application, read_settings(), {"/a": lambda _: most}, silent_seconds=0.01)
    scope: dict[str, Any] = {"type": "http", "path": "/a", "headers": []}
    asyncio.run(bodies(scope, receive, send))
    return received


def a_chunk(size: int, *, more: bool) -> Message:
    return {"type": "http.request", "body": b"x" * size, "more_body": more}


def test_a_body_within_the_bound_goes_through() -> None:
    assert bounded(iter([a_chunk(4, more=True), a_chunk(6, more=False)])) == [b"xxxx", b"xxxxxx"]


def test_a_body_beyond_the_bound_ends_where_it_passes_it() -> None:
    with pytest.raises(HTTPException) as raised:
        bounded(iter([a_chunk(6, more=True), a_chunk(6, more=True)]))
    assert raised.value.status_code == 413


def test_a_sender_who_is_silent_is_not_waited_for() -> None:
    with pytest.raises(HTTPException) as raised:
        bounded(None)
    assert raised.value.status_code == 408
