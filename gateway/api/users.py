"""/api/v1/users: people, for admins; and oneself."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from gateway import cursors, people
from gateway.api.answers import BODY, answers
from gateway.api.bounds import ID_MAX, PAGE, ListCursor, Moment, PageSize, PlainText, StrictRequest
from gateway.doors.callers import Admin, SignedIn
from gateway.doors.origins import address_of
from gateway.parts import parts_of
from sluice.domain.accounts import EMAIL, EMAIL_MAX, NAME_MAX, PASSWORD_MAX
from sluice.ledger import users
from sluice.ledger.users import Account

router = APIRouter(tags=["users"])

RoleName = Literal["viewer", "user", "admin"]
UserId = Annotated[int, Path(ge=1, le=ID_MAX, description="The person's number")]
PersonName = Annotated[PlainText, Field(min_length=1, max_length=NAME_MAX, examples=["Ada"])]
Password = Annotated[PlainText, Field(max_length=PASSWORD_MAX, examples=["correct horse battery staple"])]


class UserAnswer(BaseModel):
    """A person."""

    id: int = Field(examples=[7])
    name: str = Field(examples=["Ada"])
    email: str = Field(examples=["ada@example.com"])
    role: RoleName
    active: bool
    created: Moment


class UsersAnswer(BaseModel):
    """People by number; `next` is where the next page begins, if there is one."""

    users: list[UserAnswer]
    next: str | None = None


class UserRequest(StrictRequest):
    """A person to add."""

    name: PersonName
    email: Annotated[
        PlainText,
        Field(
            max_length=EMAIL_MAX,
            examples=["ada@example.com"],
            json_schema_extra={"pattern": f"^{EMAIL.pattern}$"},
        ),
    ]
    password: Password
    role: RoleName = "user"


class UserChangeRequest(StrictRequest):
    """What an admin changes of a person; what isn't named stays."""

    name: PersonName | None = None
    role: RoleName | None = None
    active: bool | None = Field(default=None, examples=[False])
    password: Password | None = None


class OwnChangeRequest(StrictRequest):
    """What people change of themselves; a new password takes the current one, and ends all other sessions."""

    name: PersonName | None = None
    current_password: Password | None = None
    password: Password | None = None


@router.get("/users", responses=answers(400, 401, 403, 422, 503), summary="People")
async def list_users(request: Request, person: Admin, cursor: ListCursor = "", limit: PageSize = PAGE) -> UsersAnswer:
    """List people by number; admins only."""
    del person
    after = cursors.decode("users", cursor, (int,)) or (0,)
    found = await parts_of(request).ledger.run(users.list_page, int(after[0]), limit + 1)
    more = cursors.next_page("users", [each.id for each in found], limit)
    return UsersAnswer(users=[_answer(each) for each in found[:limit]], next=more)


@router.post(
    "/users", status_code=HTTPStatus.CREATED, responses=answers(*BODY, 401, 403, 409, 422, 503), summary="Add a person"
)
async def add_user(request: Request, person: Admin, wanted: UserRequest) -> UserAnswer:
    """Add a person who signs in by password; admins only."""
    made = await people.add(parts_of(request), person, wanted.name, wanted.email, wanted.password, wanted.role)
    return _answer(made)


@router.get("/users/me", responses=answers(401, 403, 503), summary="Yourself")
async def get_me(request: Request, person: SignedIn) -> UserAnswer:
    """Say who sends the request."""
    return _answer(await people.get(parts_of(request), person.id))


@router.patch("/users/me", responses=answers(*BODY, 401, 403, 409, 422, 429, 503), summary="Change yourself")
async def change_me(request: Request, person: SignedIn, wanted: OwnChangeRequest) -> UserAnswer:
    """Change your name, your password, or both."""
    parts = parts_of(request)
    if wanted.password is not None:
        keep = parts.doors.session_digest(request)
        current = wanted.current_password or ""
        await people.change_password(parts, person, current, wanted.password, address_of(request), keep)
    return _answer(await people.change(parts, person, person.id, name=wanted.name))


@router.get("/users/{user_id:int}", responses=answers(401, 403, 404, 422, 503), summary="One person")
async def get_user(request: Request, person: Admin, user_id: UserId) -> UserAnswer:
    """Return one person; admins only."""
    del person
    return _answer(await people.get(parts_of(request), user_id))


@router.patch("/users/{user_id:int}", responses=answers(*BODY, 401, 403, 404, 409, 422, 503), summary="Change a person")
async def change_user(request: Request, person: Admin, user_id: UserId, wanted: UserChangeRequest) -> UserAnswer:
    """Change a person's name, role, password, or whether they may sign in; admins only. The last admin stays one."""
    parts = parts_of(request)
    account = await people.get(parts, user_id)
    if wanted.password is not None:
        await people.set_password(parts, person, account, wanted.password)
    changed = await people.change(parts, person, user_id, name=wanted.name, role=wanted.role, active=wanted.active)
    return _answer(changed)


@router.delete(
    "/users/{user_id:int}",
    status_code=HTTPStatus.NO_CONTENT,
    responses=answers(401, 403, 404, 409, 422, 503),
    summary="Delete a person",
)
async def delete_user(request: Request, person: Admin, user_id: UserId) -> None:
    """Delete a person with sessions and tokens; jobs and results stay, for admins. The last admin stays."""
    await people.delete(parts_of(request), person, user_id)


def _answer(account: Account) -> UserAnswer:
    return UserAnswer.model_validate(account, from_attributes=True)
