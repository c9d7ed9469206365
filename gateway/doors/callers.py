"""What routes ask for: the person who calls, with at least the role that the route wants."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from gateway.doors.person import Person, Role
from gateway.parts import parts_of
from sluice.errors import RequestError

BEARER: Final = HTTPBearer(
    auto_error=False,
    description="A personal token, from the page Account or POST /api/v1/tokens. What SLUICE_GATEWAY_ANONYMOUS "
    "permits needs none.",
)
"""For the API's description: who calls is found out by Doors."""


async def caller(request: Request) -> Person:
    """Return whoever sends the request."""
    return await parts_of(request).doors.identify(request)


class AtLeast:
    """A dependency that refuses those with a lesser role: 401 to strangers, 403 to people who are signed in."""

    def __init__(self, role: Role) -> None:
        self._role = role

    async def __call__(self, person: Annotated[Person, Depends(caller)]) -> Person:
        """Return the person, or raise RequestError."""
        if person.role >= self._role:
            return person
        if not person.is_signed_in:
            raise RequestError(HTTPStatus.UNAUTHORIZED, "sign in first, or send a token: Authorization: Bearer ...")
        raise RequestError(
            HTTPStatus.FORBIDDEN,
            f"this needs the role {self._role.name.lower()}, yours is {person.role.name.lower()}: ask an admin",
        )


async def signed_in(person: Annotated[Person, Depends(caller)]) -> Person:
    """Return the person, who has an account, or raise RequestError."""
    if not person.is_signed_in:
        raise RequestError(HTTPStatus.UNAUTHORIZED, "this is for people with an account: sign in first")
    return person


Caller = Annotated[Person, Depends(caller)]
Viewer = Annotated[Person, Depends(AtLeast(Role.VIEWER))]
User = Annotated[Person, Depends(AtLeast(Role.USER))]
Admin = Annotated[Person, Depends(AtLeast(Role.ADMIN))]
SignedIn = Annotated[Person, Depends(signed_in)]
