"""POST / as small services have it: a picture in a form that no page of ours made, from a bearer or anybody."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.classic.callers import anybody_who_may, bearer_or_anybody
from gateway.doors.callers import AtLeast
from gateway.doors.forms import FIELD, HEADER, form_token
from gateway.doors.person import Role
from gateway.dropped import is_form, read_form
from gateway.pages.classify import classify
from gateway.parts import parts_of

router = APIRouter(include_in_schema=False)


@router.post("/")
async def classify_form(request: Request) -> Response:
    """Answer with the page, the picture and what is in it; the page's own form counts as everywhere."""
    parts = parts_of(request)
    if HEADER in request.headers or (is_form(request) and FIELD in await read_form(request, parts.settings)):
        await form_token(request)
        return await classify(request, await AtLeast(Role.USER)(await parts.doors.identify(request)))
    return await classify(request, await anybody_who_may(await bearer_or_anybody(request)))
