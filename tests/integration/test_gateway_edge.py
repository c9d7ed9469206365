"""A gateway behind a proxy that ends TLS: host, addresses, rates, cookies, and a sign-up that is open to all."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.support.gateway_visitors import PASSWORD, TIMEOUT, Visitor
from tools.stack import Gateway, Servers, Stack

HOST = "sluice.example"
PUBLIC = f"https://{HOST}"
RATE = 40
MANY = 500
START_SECONDS = 180.0
_addresses = (f"203.0.113.{number}" for number in itertools.count(1))


class ProxiedVisitor(Visitor):
    """Visits through the proxy, which says from which address, and keeps cookies that are for https."""

    def __init__(self, url: str, address: str = "") -> None:
        super().__init__(url)
        self.session.headers.update({"Host": HOST, "X-Forwarded-Proto": "https"})
        self.kept: dict[str, str] = {}
        self.session.hooks["response"].append(self.keep)
        self.come_from(address or next(_addresses))

    def keep(self, answer: requests.Response, **more: object) -> None:
        """Keep cookies ourselves: to requests this is plain http, where those for https aren't sent."""
        del more
        for cookie in answer.raw.headers.getlist("Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.show_cookie(name, value)

    def show_cookie(self, name: str, value: str) -> None:
        self.kept[name] = value
        self.session.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.kept.items())

    def come_from(self, address: str) -> None:
        self.session.headers["X-Forwarded-For"] = address

    def send(self, method: str, path: str, **more: Any) -> requests.Response:  # noqa: ANN401 - what requests takes
        return super().send(method, path, headers={"Origin": PUBLIC, **more.pop("headers", {})}, **more)


@pytest.fixture(scope="module")
def gateway(servers: Servers) -> Iterator[Gateway]:
    """Start one; whoever is on this machine counts as its proxy."""
    servers.start(servers.database, servers.s3)
    with Stack(servers, "edge") as stack:
        gateway = stack.add_gateway(
            gateway_rate=RATE, gateway_proxies="127.0.0.0/8", gateway_url=PUBLIC, gateway_signup="open"
        )
        gateway.start()
        gateway.wait_until(lambda: is_there(gateway.url), START_SECONDS)
        yield gateway


def is_there(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{url}/login", headers={"Host": HOST}, timeout=TIMEOUT).ok
    return False


def new_person(gateway: Gateway, name: str) -> ProxiedVisitor:
    visitor = ProxiedVisitor(gateway.url)
    answer = visitor.submit("/signup", name=name, email=f"{name}@example.com", password=PASSWORD)
    assert answer.status_code == 303, answer.text
    return visitor


def first_refusal(visitor: Visitor, path: str) -> requests.Response:
    """Ask until it is too much."""
    for _ in range(MANY):
        answer = visitor.get(path)
        if answer.status_code != 200:
            return answer
    raise AssertionError(f"{MANY} requests were answered")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", f"{HOST}.evil.example", f"{HOST}:8443"])
def test_another_host_is_refused(gateway: Gateway, host: str) -> None:
    visitor = ProxiedVisitor(gateway.url)
    assert visitor.get("/login").status_code == 200
    for path in ("/login", "/api/v1/users/me", "/static/style.css"):
        answer = visitor.get(path, headers={"Host": host})
        assert (answer.status_code, answer.headers["content-type"]) == (421, "application/problem+json")


def test_an_address_that_asks_too_often_is_told_when_to_come_back(gateway: Gateway) -> None:
    visitor = ProxiedVisitor(gateway.url)
    refused = first_refusal(visitor, "/login")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert ProxiedVisitor(gateway.url).get("/login").status_code == 200


def test_an_address_that_the_client_made_up_counts_for_nothing(gateway: Gateway) -> None:
    true = next(_addresses)
    visitor = ProxiedVisitor(gateway.url)
    for number in range(MANY):
        visitor.come_from(f"198.51.100.{number % 250}, {true}")
        if visitor.get("/login").status_code == 429:
            break
    else:
        raise AssertionError(f"{MANY} requests were answered")


def test_a_person_who_asks_too_often_is_refused_from_every_address(gateway: Gateway) -> None:
    busy, other = new_person(gateway, "busy"), new_person(gateway, "other")
    refused = first_refusal(busy, "/api/v1/users/me")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    statuses = set()
    for _ in range(5):
        busy.come_from(next(_addresses))
        statuses.add(busy.get("/api/v1/users/me").status_code)
    assert 429 in statuses
    assert other.get("/api/v1/users/me").status_code == 200


def test_cookies_are_for_https_and_this_host_alone(gateway: Gateway) -> None:
    visitor = ProxiedVisitor(gateway.url)
    form = visitor.get("/signup")
    answer = visitor.submit("/signup", name="carol", email="carol@example.com", password=PASSWORD)
    assert answer.status_code == 303
    for name, shown in (("__Host-sluice-form", form), ("__Host-sluice-session", answer)):
        begin, *flags = shown.headers["set-cookie"].split(";")
        assert begin.startswith(f"{name}=")
        assert {"secure", "httponly", "samesite=lax", "path=/"} <= {flag.strip().lower() for flag in flags}
        assert "domain" not in shown.headers["set-cookie"].lower()
    assert answer.headers["strict-transport-security"].startswith("max-age=")
    assert visitor.get("/api/v1/users/me").status_code == 200
    # Without https another name counts, which a sub-domain or a stranger on the line could have set.
    thief = ProxiedVisitor(gateway.url)
    thief.show_cookie("sluice-session", visitor.kept["__Host-sluice-session"])
    assert thief.get("/api/v1/users/me").status_code == 401


def test_a_page_over_plain_http_is_not_ours(gateway: Gateway) -> None:
    visitor = new_person(gateway, "dave")
    for origin in (f"http://{HOST}", gateway.url, "null"):
        answer = visitor.send("PATCH", "/api/v1/users/me", json={"name": "stolen"}, headers={"Origin": origin})
        assert answer.status_code == 403
    assert visitor.get("/api/v1/users/me").json()["name"] == "dave"


def test_who_signs_up_becomes_a_user_and_no_more(gateway: Gateway) -> None:
    visitor = ProxiedVisitor(gateway.url)
    answer = visitor.submit(
        "/signup", name="eve", email="eve@example.com", password=PASSWORD, role="admin", active="1", id="1"
    )
    assert answer.status_code == 303
    assert visitor.get("/api/v1/users/me").json()["role"] == "user"
    again = ProxiedVisitor(gateway.url)
    taken = again.submit("/signup", name="eve", email="EVE@example.com ", password=PASSWORD)
    assert taken.status_code == 409
    assert again.submit("/signup", name="x", email="short@example.com", password="short").status_code == 422


def test_an_address_that_signs_up_again_and_again_has_to_wait(gateway: Gateway) -> None:
    visitor = ProxiedVisitor(gateway.url)
    token = visitor.csrf("/signup")
    answers = []
    for number in range(14):
        fields = {"csrf": token, "name": f"many{number}", "email": "no address", "password": PASSWORD}
        answers.append(visitor.send("POST", "/signup", data=fields))
    statuses = [answer.status_code for answer in answers]
    assert statuses[:10] == [422] * 10
    assert 429 in statuses[10:]
    assert int(next(each for each in answers if each.status_code == 429).headers["retry-after"]) >= 1


def test_guesses_at_many_accounts_from_one_address_have_to_wait(gateway: Gateway) -> None:
    guesser = ProxiedVisitor(gateway.url)
    token = guesser.csrf("/login")
    statuses = []
    for number in range(25):
        fields = {"csrf": token, "email": f"victim{number}@example.com", "password": "password1234"}
        statuses.append(guesser.send("POST", "/login", data=fields).status_code)
    assert statuses[:20] == [401] * 20
    assert 429 in statuses[20:]
    elsewhere = ProxiedVisitor(gateway.url)
    assert elsewhere.submit("/login", email="victim1@example.com", password="password1234").status_code == 401
