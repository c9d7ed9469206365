"""Requests that may be sent again: with an Idempotency-Key, what was created once is answered again, not made again."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Final

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel

from gateway.doors.origins import address_of
from gateway.doors.person import Person
from gateway.ledgers import LedgerPool
from sluice.errors import Busy, LedgerError, RequestError
from sluice.ledger import idempotency
from sluice.ledger.idempotency import KeptAnswer, Repeated, RequestTicket

HEADER: Final = "Idempotency-Key"
KEY_MAX: Final = 255
RENEW_SECONDS: Final = 15.0
RETRY_SECONDS: Final = 5
KEY_PARAMETER: Final = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "A request with a key that was used is not done again within a day: its first answer is given.",
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_MAX},
}
"""For `openapi_extra` of routes that use `once`."""

Work = Callable[[RequestTicket | None], Awaitable[BaseModel]]
"""What a request asks for. It may finish its ticket in the transaction that creates something."""


class Repeats:
    """Does requests that have a key once, for all replicas."""

    def __init__(self, ledger: LedgerPool) -> None:
        self._ledger = ledger

    async def once(
        self, request: Request, person: Person, what: Iterable[bytes], status: HTTPStatus, work: Work
    ) -> Response:
        """Do `work` and answer with what it returns, or answer as the request with the same key was answered.

        `what` tells requests apart beside their address: pictures, a body; a body that isn't read yet has its length.
        """
        key = request.headers.get(HEADER)
        if key is None:
            return _answer(status, body_of(await work(None)))
        if not key or len(key) > KEY_MAX:
            raise RequestError(HTTPStatus.BAD_REQUEST, f"{HEADER} must have 1 to {KEY_MAX} characters: send another")
        # Nobody knows the keys of others who aren't signed in either, and what some programs take is the same for all.
        whose = "" if person.is_signed_in else f"{address_of(request)} "
        ticket = RequestTicket(
            person.id,
            hashlib.sha256(f"{whose}{key}".encode()).digest(),
            _digest(request, what),
            secrets.token_bytes(16),
        )
        earlier = await self._ledger.run(idempotency.begin, ticket)
        if isinstance(earlier, KeptAnswer):
            return _answer(earlier.status, earlier.body)
        if earlier is Repeated.OTHER:
            raise RequestError(
                HTTPStatus.UNPROCESSABLE_ENTITY, f"this {HEADER} was used for another request: send a new one"
            )
        if earlier is Repeated.RUNNING:
            raise Busy("the same request is being worked on: send it again", RETRY_SECONDS, HTTPStatus.CONFLICT)
        return await self._do(ticket, status, work)

    async def _do(self, ticket: RequestTicket, status: HTTPStatus, work: Work) -> Response:
        renewing = asyncio.create_task(self._keep_renewing(ticket))
        try:
            body = body_of(await work(ticket))
            await self._ledger.run(idempotency.finish, ticket, status, body)
        except BaseException:
            # What came to nothing may be tried again; what was finished stays so.
            with contextlib.suppress(LedgerError):
                await asyncio.shield(self._ledger.run(idempotency.give_back, ticket))
            raise
        finally:
            renewing.cancel()
        return _answer(status, body)

    async def _keep_renewing(self, ticket: RequestTicket) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            with contextlib.suppress(LedgerError):
                await self._ledger.run(idempotency.renew, ticket)


def body_of(made: BaseModel) -> bytes:
    """Return the answer's body as it is sent and kept."""
    return made.model_dump_json().encode()


def _digest(request: Request, what: Iterable[bytes]) -> bytes:
    digest = hashlib.sha256()
    asked = (
        request.method,
        request.url.path,
        *(f"{name}={value}" for name, value in sorted(request.query_params.items())),
    )
    for part in (*(each.encode() for each in asked), *what):
        digest.update(hashlib.sha256(part).digest())
    return digest.digest()


def _answer(status: int, body: bytes) -> Response:
    return Response(body, status, media_type="application/json")
