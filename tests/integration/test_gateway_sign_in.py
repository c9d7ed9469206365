"""Signing in and out at a real gateway, and what replicas know of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.gateway_visitors import ADMIN, Visitor
from tools.stack import Servers, Stack


@pytest.fixture(scope="module")
def house(servers: Servers) -> Iterator[Stack]:
    """Run two gateways on one ledger."""
    servers.start()
    with Stack(servers, "doors") as stack:
        stack.start_gateway()
        stack.start_gateway()
        yield stack


@pytest.fixture
def admin(house: Stack) -> Visitor:
    """Return the first admin, signed in."""
    return Visitor(house.gateways[0].url).sign_in(ADMIN, house.admin_password)


def test_strangers_are_sent_to_the_login_page_and_back(house: Stack) -> None:
    visitor = Visitor(house.gateways[0].url)
    answer = visitor.get("/?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2F%3Fx%3D1")
    answer = visitor.submit("/login", email=ADMIN, password=house.admin_password, next="/?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?x=1")
    assert visitor.get("/").status_code == 200


def test_a_session_holds_on_every_replica(house: Stack, admin: Visitor) -> None:
    other = Visitor(house.gateways[1].url)
    other.session.cookies.update(admin.session.cookies)
    assert other.get("/").status_code == 200
