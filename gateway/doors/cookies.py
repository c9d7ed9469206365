"""The cookies: what each is called, how long it lasts, and the flags that keep it with us."""

from __future__ import annotations

from typing import Final

from starlette.requests import HTTPConnection
from starlette.responses import Response

SESSION: Final = "sluice-session"
SEED: Final = "sluice-form"
"""What forms of people who aren't signed in are tied to."""
OIDC: Final = "sluice-oidc"
"""A sign-in elsewhere that is under way."""


def read_cookie(request: HTTPConnection, name: str) -> str:
    """Return a cookie of ours; empty where there is none."""
    return request.cookies.get(_named(request, name), "")


def set_cookie(request: HTTPConnection, response: Response, name: str, value: str, seconds: int | None = None) -> None:
    """Set a cookie that scripts can't read and other sites' forms don't send; no `seconds`: until the browser ends."""
    response.set_cookie(
        _named(request, name), value, seconds, path="/", secure=_is_https(request), httponly=True, samesite="lax"
    )


def delete_cookie(request: HTTPConnection, response: Response, name: str) -> None:
    """Have the browser forget a cookie."""
    response.delete_cookie(_named(request, name), path="/", secure=_is_https(request), httponly=True, samesite="lax")


def _named(request: HTTPConnection, name: str) -> str:
    # The prefix has browsers refuse the cookie from anything but this very host over https: no sub-domain can set it.
    return f"__Host-{name}" if _is_https(request) else name


def _is_https(request: HTTPConnection) -> bool:
    return request.url.scheme == "https"
