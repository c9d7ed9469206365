"""Signing in, out and up."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from gateway import people
from gateway.doors.callers import Caller
from gateway.doors.fields import field
from gateway.doors.origins import address_of, safe_path
from gateway.doors.person import person_of
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


@router.get("/login/oidc")
async def begin_company(request: Request) -> Response:
    """Send somebody to the company's sign-in."""
    asked = safe_path(request.query_params.get("next", "/"))
    return await parts_of(request).doors.company.begin(request, asked)


@router.get("/login/oidc/callback")
async def finish_company(request: Request) -> Response:
    """Sign in whoever comes back from there."""
    doors = parts_of(request).doors
    try:
        person, asked = await doors.company.finish(request)
    except RequestError as error:
        refusal = await page(request, "login.html", error.status, next="/", email="", error=error.detail)
        doors.company.end(request, refusal)
        return refusal
    answer = RedirectResponse(safe_path(asked), HTTPStatus.SEE_OTHER)
    doors.company.end(request, answer)
    # An account may have been linked just now, which ended what opened it before.
    doors.forget()
    await doors.begin_session(request, answer, person)
    return answer


@router.post("/logout")
async def logout(request: Request) -> Response:
    """Sign out: the session ends on all replicas."""
    answer = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    await parts_of(request).doors.end_session(request, answer)
    return answer


@router.get("/signup")
async def show_signup(request: Request) -> Response:
    """Show the form, where everybody may make an account."""
    if parts_of(request).settings.gateway_signup != "open":
        raise RequestError(HTTPStatus.NOT_FOUND, "sign-up is closed here: ask an admin for an account")
    return await page(request, "signup.html", name="", email="", error="")


@router.post("/signup")
async def signup(request: Request) -> Response:
    """Make an account and sign in."""
    parts = parts_of(request)
    name, email = await field(request, "name"), await field(request, "email")
    try:
        account = await people.sign_up(parts, name, email, await field(request, "password"), address_of(request))
    except RequestError as error:
        again = await page(request, "signup.html", error.status, name=name, email=email, error=error.detail)
        again.headers.update(headers_of(error, error.status))
        return again
    answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
    await parts.doors.begin_session(request, answer, person_of(account))
    return answer
