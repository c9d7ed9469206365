"""Fields of small forms, after `form_token` has read the form."""

from __future__ import annotations

from fastapi import Request

from gateway.dropped import read_form
from gateway.parts import parts_of


async def field(request: Request, name: str) -> str:
    """Return a field of the request's form; empty where it isn't there, or is a file."""
    said = (await read_form(request, parts_of(request).settings)).get(name)
    return said if isinstance(said, str) else ""
