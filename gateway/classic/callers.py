"""Who calls a classic route: a bearer, or anybody. Cookies of the pages' sessions count for nothing here."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials

from gateway.api.answers import BODY, answers
from gateway.doors.callers import BEARER, AtLeast
from gateway.doors.person import Person, Role
from gateway.parts import parts_of
from sluice.errors import RequestError
from sluice.ledger.pictures import ANONYMOUS

REFUSALS: Final[dict[int | str, dict[str, Any]]] = answers(*BODY, 401, 403, 422, 503)


async def bearer_or_anybody(request: Request) -> Person:
    """Return the person whose token this is; without a token it is anybody."""
    parts = parts_of(request)
    person = await parts.doors.identify(request)
    if parts.doors.way(request) == "bearer":
        return person
    return Person(ANONYMOUS, "", "", Role[parts.settings.gateway_anonymous.upper()])


async def bearer(
    person: Annotated[Person, Depends(bearer_or_anybody)],
    shown: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)],
) -> Person:
    """Return the person whose token this is, or refuse."""
    del shown
    if not person.is_signed_in:
        raise RequestError(HTTPStatus.UNAUTHORIZED, "Not authenticated: send Authorization: Bearer, see POST /login")
    return await AtLeast(Role.USER)(person)


async def anybody_who_may(person: Annotated[Person, Depends(bearer_or_anybody)]) -> Person:
    """Return whoever calls, if they may classify."""
    return await AtLeast(Role.USER)(person)


Bearer = Annotated[Person, Depends(bearer)]
Anybody = Annotated[Person, Depends(anybody_who_may)]
AnyCaller = Annotated[Person, Depends(bearer_or_anybody)]
