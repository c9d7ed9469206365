"""Signing in through a company's provider: a real one, of oidc-provider-mock."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from oidc_provider_mock import User, run_server_in_thread

from tests.support.gateway_house import House, open_house
from tests.support.gateway_visitors import TIMEOUT, Visitor
from tools.stack import Servers
from tools.stack.ports import free_port

USERS = (
    User(sub="new", claims={"email": "new@example.com", "email_verified": True, "name": "New"}),
    User(sub="ada", claims={"email": "Ada@example.com", "email_verified": True}),
    User(sub="bob-unproven", claims={"email": "bob@example.com", "email_verified": False}),
    User(sub="bob-unsaid", claims={"email": "bob@example.com"}),
    User(sub="bob-text", claims={"email": "bob@example.com", "email_verified": "false"}),
)


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """Run a provider; return its issuer."""
    with run_server_in_thread(port=free_port(), user_claims=USERS, require_nonce=True) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="module")
def house(servers: Servers, provider: str) -> Iterator[House]:
    """Open a house whose company has that provider."""
    port = free_port()
    with open_house(
        servers,
        "oidc",
        gateway_oidc_issuer=provider,
        gateway_oidc_client="sluice",
        gateway_oidc_secret="provider's word",
        port=port,
    ) as house:
        yield house


def begin(visitor: Visitor) -> str:
    """Return where the provider is to be asked."""
    answer = visitor.get("/login/oidc?next=/jobs")
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def agree(url: str, subject: str) -> str:
    """Sign in at the provider; return the path that it sends back to."""
    answer = requests.post(url, data={"sub": subject}, timeout=TIMEOUT, allow_redirects=False)
    assert answer.status_code == 302, answer.text
    back = urlsplit(answer.headers["location"])
    return f"{back.path}?{back.query}"


def test_the_provider_is_asked_with_state_nonce_and_pkce(house: House) -> None:
    asked = parse_qs(urlsplit(begin(Visitor(house.url))).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert all(len(asked[each][0]) > 30 for each in ("state", "nonce", "code_challenge"))
    assert asked["redirect_uri"] == [f"{house.url}/login/oidc/callback"]


def test_a_new_person_has_an_account_and_the_role_user(house: House) -> None:
    for _ in range(2):
        visitor = Visitor(house.url)
        answer = visitor.get(agree(begin(visitor), "new"))
        assert (answer.status_code, answer.headers["location"]) == (303, "/jobs")
        me = visitor.get("/api/v1/users/me").json()
        assert (me["email"], me["name"], me["role"]) == ("new@example.com", "New", "user")


@pytest.mark.parametrize("subject", ["bob-unproven", "bob-unsaid", "bob-text"])
def test_an_address_that_is_not_verified_takes_nothing_over(house: House, subject: str) -> None:
    visitor = Visitor(house.url)
    assert visitor.get(agree(begin(visitor), subject)).status_code == 403
    assert visitor.get("/api/v1/users/me").status_code == 401


def test_a_verified_address_takes_its_account_and_what_opened_it_before_opens_nothing(house: House) -> None:
    visitor = Visitor(house.url)
    assert visitor.get(agree(begin(visitor), "ada")).status_code == 303
    assert visitor.get("/api/v1/users/me").json()["email"] == "ada@example.com"
    assert house.ada.get("/api/v1/users/me").status_code == 401
    assert (
        Visitor(house.url).submit("/login", email="ada@example.com", password="a long enough secret").status_code == 401
    )


@pytest.mark.parametrize("how", ["another browser", "another state", "another sign-in", "no code", "another issuer"])
def test_what_does_not_belong_together_opens_nothing(house: House, how: str) -> None:
    visitor = Visitor(house.url)
    path = agree(begin(visitor), "new")
    if how == "another browser":
        visitor = Visitor(house.url)
    elif how == "another state":
        path = path.replace("state=", "state=x")
    elif how == "another sign-in":
        begin(visitor)
    elif how == "no code":
        path = path.replace("code=", "cod=")
    else:
        path += "&iss=https://evil.example"
    assert visitor.get(path).status_code == 403
    assert visitor.get("/api/v1/users/me").status_code == 401


def test_a_code_of_another_sign_in_has_another_nonce(house: House) -> None:
    visitor, attacker = Visitor(house.url), Visitor(house.url)
    theirs = parse_qs(urlsplit(agree(begin(attacker), "new")).query)["code"][0]
    mine = urlsplit(agree(begin(visitor), "ada"))
    state = parse_qs(mine.query)["state"][0]
    assert visitor.get(f"{mine.path}?code={theirs}&state={state}").status_code == 403


def test_a_sign_in_is_finished_once(house: House) -> None:
    visitor = Visitor(house.url)
    path = agree(begin(visitor), "new")
    assert visitor.get(path).status_code == 303
    assert visitor.get(path).status_code == 403


def test_a_provider_that_calls_itself_otherwise_is_not_believed(servers: Servers, provider: str) -> None:
    issuer = provider.replace("localhost", "127.0.0.1") + "/"
    with open_house(
        servers, "wrongissuer", gateway_oidc_issuer=issuer, gateway_oidc_client="sluice", port=free_port()
    ) as house:
        assert Visitor(house.url).get("/login/oidc").status_code == 503
