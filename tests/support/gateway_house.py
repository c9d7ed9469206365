"""A house with two doors: two gateways on one ledger, an admin, and two people who are signed in.

TorchServe isn't started: nobody classifies anything here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import requests

from gateway.doors.keys import GatewayKeys
from sluice.settings import read_settings
from tests.support.gateway_visitors import ADMIN, PASSWORD, TIMEOUT, Visitor
from tools.stack import Servers, Stack

START_SECONDS: Final = 180.0


@dataclass
class House:
    """Two gateways on one ledger, with an admin and two people."""

    stack: Stack
    admin: Visitor
    ada: Visitor
    bob: Visitor
    key: GatewayKeys

    @property
    def url(self) -> str:
        return self.stack.gateways[0].url

    @property
    def other_url(self) -> str:
        return self.stack.gateways[1].url

    def add(self, name: str, role: str = "user", password: str = PASSWORD) -> int:
        """Add a person named so; the address is NAME@example.com."""
        wanted = {"name": name, "email": f"{name}@example.com", "password": password, "role": role}
        answer = self.admin.send("POST", "/api/v1/users", json=wanted)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def visitor(self, name: str) -> Visitor:
        """Return somebody signed in."""
        return Visitor(self.url).sign_in(f"{name}@example.com")


@contextlib.contextmanager
def open_house(servers: Servers, database: str, port: int = 0, **settings: object) -> Iterator[House]:
    """Run two gateways with these settings until the block ends; with `port` one there, which knows its URL."""
    servers.start(servers.database, servers.s3)
    with Stack(servers, database) as stack:
        if port:
            host = f"127.0.0.1:{port}"
            stack.add_gateway(gateway_rate=0, gateway_bind=host, gateway_url=f"http://{host}", **settings).start()
        for _ in range(0 if port else 2):
            stack.add_gateway(gateway_rate=0, **settings).start()
        for gateway in stack.gateways:
            gateway.wait_until(partial(answers, gateway.url), START_SECONDS)
        first = stack.gateways[0]
        # The first admin is made as soon as the database answers.
        first.wait_until(lambda: any("first admin made" in each.log_tail() for each in stack.gateways), START_SECONDS)
        admin = Visitor(first.url).sign_in(ADMIN, stack.admin_password)
        key = GatewayKeys(read_settings(gateway_key=first.settings["gateway_key"]))
        house = House(stack, admin, Visitor(first.url), Visitor(first.url), key)
        for name in ("ada", "bob"):
            house.add(name)
        house.ada, house.bob = house.visitor("ada"), house.visitor("bob")
        yield house


def answers(url: str) -> bool:
    """Return whether a gateway answers."""
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{url}/login", timeout=TIMEOUT).ok
    return False
