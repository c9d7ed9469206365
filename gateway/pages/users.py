"""People, for admins: add, change their role, let them in no more, delete."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request
from fastapi.responses import RedirectResponse, Response

from gateway import cursors, people
from gateway.api.bounds import ID_MAX, PAGE, ListCursor
from gateway.doors.callers import Admin
from gateway.doors.fields import field
from gateway.doors.person import Role
from gateway.pages.render import page
from gateway.parts import parts_of
from sluice.errors import RequestError
from sluice.ledger import users

router = APIRouter(include_in_schema=False)

ROLES: Final = tuple(role.name.lower() for role in Role if role is not Role.NONE)
UserNumber = Annotated[int, Path(ge=1, le=ID_MAX)]


@router.get("/users")
async def show(request: Request, person: Admin, cursor: ListCursor = "") -> Response:
    """Show people by number."""
    del person
    return await _shown(request, cursor)


@router.post("/users")
async def add(request: Request, person: Admin) -> Response:
    """Add a person."""
    said = {name: await field(request, name) for name in ("name", "email", "password", "role")}
    try:
        await people.add(
            parts_of(request), person, said["name"], said["email"], said["password"], _checked_role(said["role"])
        )
    except RequestError as error:
        return await _shown(request, error=error)
    return _back()


@router.post("/users/{user_id}")
async def change(request: Request, person: Admin, user_id: UserNumber) -> Response:
    """Change a person's role, or whether they may sign in."""
    role, active = await field(request, "role"), await field(request, "active")
    try:
        await people.change(
            parts_of(request),
            person,
            user_id,
            role=_checked_role(role) if role else None,
            active=active == "yes" if active else None,
        )
    except RequestError as error:
        return await _shown(request, error=error)
    return _back()


@router.post("/users/{user_id}/delete")
async def delete(request: Request, person: Admin, user_id: UserNumber) -> Response:
    """Delete a person."""
    try:
        await people.delete(parts_of(request), person, user_id)
    except RequestError as error:
        return await _shown(request, error=error)
    return _back()


def _back() -> Response:
    return RedirectResponse("/users", HTTPStatus.SEE_OTHER)


def _checked_role(said: str) -> str:
    if said not in ROLES:
        raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, f"a role is one of {', '.join(ROLES)}")
    return said


async def _shown(request: Request, cursor: str = "", error: RequestError | None = None) -> Response:
    after = cursors.decode("users", cursor, (int,)) or (0,)
    found = await parts_of(request).ledger.run(users.list_page, int(after[0]), PAGE + 1)
    more = cursors.encode("users", (found[PAGE - 1].id,)) if len(found) > PAGE else ""
    status = error.status if error else HTTPStatus.OK
    said = error.detail if error else ""
    return await page(request, "users.html", status, people=found[:PAGE], next=more, roles=ROLES, error=said)
