"""Forms of pages: each that changes something carries a token, whether people are signed in or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from fastapi import Request

from gateway.doors.origins import SAFE
from gateway.dropped import read_form
from gateway.parts import parts_of

F = TypeVar("F", bound=Callable[..., Any])

FIELD: Final = "csrf"
HEADER: Final = "x-csrf-token"

_STREAMED: Final[set[Callable[..., Any]]] = set()


def streams_form(route: F) -> F:
    """Mark a route that reads its form by itself, and hands the token to Doors.check_token before it does anything."""
    _STREAMED.add(route)
    return route


async def form_token(request: Request) -> None:
    """Refuse a form without the token: in the field `csrf`, or in the header X-CSRF-Token of a script's request."""
    parts = parts_of(request)
    await parts.doors.identify(request)
    if request.method in SAFE or parts.doors.way(request) == "bearer":
        return
    token = request.headers.get(HEADER)
    if token is None:
        if request.scope["endpoint"] in _STREAMED:
            return
        said = (await read_form(request, parts.settings)).get(FIELD)
        token = said if isinstance(said, str) else ""
    parts.doors.check_token(request, token)
