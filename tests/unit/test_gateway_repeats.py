"""Requests that are sent again with a key: whose keys are the same."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, cast

from pydantic import BaseModel
from starlette.requests import Request

from gateway.doors.person import Person, Role
from gateway.repeats import Repeats
from sluice.ledger import idempotency
from sluice.ledger.idempotency import KeptAnswer, RequestTicket


class KeptAnswers:
    """A ledger that keeps what was answered."""

    def __init__(self) -> None:
        self.kept: dict[tuple[int, bytes], KeptAnswer] = {}

    async def run(self, work: object, ticket: RequestTicket, *said: Any) -> KeptAnswer | None:  # noqa: ANN401 - as the function has it
        place = ticket.user_id, ticket.request_key
        if work is idempotency.finish:
            self.kept[place] = KeptAnswer(*said)
        return self.kept.get(place) if work is idempotency.begin else None


class Made(BaseModel):
    """What a request made."""

    number: int


def answers(*sent: tuple[Person, str]) -> list[bytes]:
    """Return what the same request is answered with, sent by each person from each address with the same key."""
    repeats, count = Repeats(cast("Any", KeptAnswers())), iter(range(100))

    async def work(_: object) -> Made:
        return Made(number=next(count))

    async def send() -> list[bytes]:
        found = []
        for person, address in sent:
            scope = {"type": "http", "method": "PUT", "path": "/x", "query_string": b"", "client": (address, 1)}
            request = Request({**scope, "headers": [(b"idempotency-key", b"1"), (b"host", b"x")]})
            found.append(bytes((await repeats.once(request, person, [b"9"], HTTPStatus.OK, work)).body))
        return found

    return asyncio.run(send())


def test_strangers_who_take_the_same_key_are_not_answered_as_one_another() -> None:
    """What one of them sent is nothing that the other may see, and the other's is not dropped."""
    anybody, ada, bob = (Person(number, "", "", Role.USER) for number in (0, 1, 2))
    one, other = "10.0.0.1", "10.0.0.2"
    first, second, again = answers((anybody, one), (anybody, other), (anybody, one))
    assert first == again != second
    first, second, again = answers((ada, one), (bob, one), (ada, other))
    assert first == again != second, "who is signed in may come from elsewhere"
