"""Signing in, out and up."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from gateway.doors.callers import Caller
from gateway.doors.fields import field
from gateway.doors.origins import address_of, safe_path
from gateway.pages.render import page
from gateway.parts import parts_of
from gateway.problems import headers_of
from sluice.errors import RequestError

router = APIRouter(include_in_schema=False)


@router.get("/login")
async def show_login(request: Request, person: Caller) -> Response:
    """Show the form, or go on where somebody is signed in already."""
    asked = safe_path(request.query_params.get("next", "/"))
    if person.is_signed_in:
        return RedirectResponse(asked, HTTPStatus.SEE_OTHER)
    return await page(request, "login.html", next=asked, email="", error="")


@router.post("/login")
async def login(request: Request) -> Response:
    """Sign in by e-mail address and password."""
    doors = parts_of(request).doors
    asked, email = safe_path(await field(request, "next")), await field(request, "email")
    try:
        person = await doors.sign_in(email, await field(request, "password"), address_of(request))
    except RequestError as error:
        again = await page(request, "login.html", error.status, next=asked, email=email, error=error.detail)
        again.headers.update(headers_of(error, error.status))
        return again
    answer = RedirectResponse(asked, HTTPStatus.SEE_OTHER)
    await doors.begin_session(request, answer, person)
    return answer


@router.post("/logout")
async def logout(request: Request) -> Response:
    """Sign out: the session ends on all replicas."""
    answer = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    await parts_of(request).doors.end_session(request, answer)
    return answer
