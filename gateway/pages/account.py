"""One's own page: name, password, tokens, and signing out everywhere."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from gateway import people
from gateway.api.tokens import DAYS_MAX
from gateway.doors.callers import SignedIn
from gateway.doors.fields import field
from gateway.doors.origins import address_of
from gateway.doors.person import Person
from gateway.pages.render import page
from gateway.parts import parts_of
from gateway.problems import headers_of
from sluice.errors import RequestError
from sluice.ledger import tokens

router = APIRouter(include_in_schema=False)


@router.get("/account")
async def show(request: Request, person: SignedIn) -> Response:
    """Show what belongs to oneself."""
    return await _shown(request, person)


@router.post("/account/name")
async def rename(request: Request, person: SignedIn) -> Response:
    """Change one's name."""
    try:
        await people.change(parts_of(request), person, person.id, name=await field(request, "name"))
    except RequestError as error:
        return await _shown(request, person, error)
    return _back()


@router.post("/account/password")
async def change_password(request: Request, person: SignedIn) -> Response:
    """Change one's password; other sessions end."""
    parts = parts_of(request)
    current, wanted = await field(request, "current"), await field(request, "password")
    keep = parts.doors.session_digest(request)
    try:
        await people.change_password(parts, person, current, wanted, address_of(request), keep)
    except RequestError as error:
        return await _shown(request, person, error)
    return await _shown(request, person, done="Your password is changed, and all other sessions have ended.")


@router.post("/account/tokens")
async def make_token(request: Request, person: SignedIn) -> Response:
    """Make a token and show it, this once."""
    said = await field(request, "days")
    days = int(said) if said.isascii() and said.isdecimal() and 1 <= int(said[:5]) <= DAYS_MAX else None
    try:
        _, token = await people.make_token(parts_of(request), person, await field(request, "name"), days)
    except RequestError as error:
        return await _shown(request, person, error)
    return await _shown(request, person, token=token)


@router.post("/account/tokens/{token_id}/revoke")
async def revoke_token(request: Request, person: SignedIn, token_id: int) -> Response:
    """Revoke a token."""
    await people.revoke_token(parts_of(request), person, token_id)
    return _back()


@router.post("/account/sessions/end")
async def end_sessions(request: Request, person: SignedIn) -> Response:
    """Sign out everywhere, here too."""
    parts = parts_of(request)
    await people.end_sessions(parts, person)
    answer = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    await parts.doors.end_session(request, answer)
    return answer


def _back() -> Response:
    return RedirectResponse("/account", HTTPStatus.SEE_OTHER)


async def _shown(
    request: Request, person: Person, error: RequestError | None = None, done: str = "", token: str = ""
) -> Response:
    parts = parts_of(request)
    account = await people.get(parts, person.id)
    mine = await parts.ledger.run(tokens.list_tokens, person.id)
    status = error.status if error else HTTPStatus.OK
    said = error.detail if error else ""
    answer = await page(
        request, "account.html", status, account=account, tokens=mine, token=token, error=said, done=done
    )
    answer.headers.update(headers_of(error, status) if error else {})
    return answer
