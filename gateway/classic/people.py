"""POST /login as an OAuth2 password form, and /user/: accounts as small services have them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.answers import answers
from gateway.api.bounds import ID_MAX, PlainText
from gateway.classic.callers import REFUSALS, AnyCaller, Bearer
from gateway.classic.pictures import form_of
from gateway.doors.callers import Caller
from gateway.doors.fields import field
from gateway.doors.forms import form_token
from gateway.doors.origins import address_of
from gateway.doors.person import Person, Role
from gateway.pages.login import login as page_login
from gateway.pages.login import show_login
from gateway.parts import parts_of
from sluice.domain.accounts import PASSWORD_MAX, check_password
from sluice.errors import RequestError
from sluice.ledger import users
from sluice.ledger.users import Account

router = APIRouter(tags=["classic"])

MOST: Final = 1000
EMAIL: Final = r"^\s*[^@\s]{1,64}@[^@\s]{1,189}\s*$"
LOGIN: Final = form_of(username={"type": "string", "maxLength": 254}, password={"type": "string"})
PAGE: Final = {"text/html": {"schema": {"type": "string"}}}
LOGIN_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    **{status: {**said, "content": {**said["content"], **PAGE}} for status, said in REFUSALS.items()},
    303: {"description": "The page's own form: signed in"},
    404: {"description": "Wrong user or password: which of them isn't said"},
}
"""The page's own form is answered with pages."""
TAKEN: Final = {"application/json": {"schema": {"type": "object", "properties": {"detail": {"type": "string"}}}}}
ADD_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    **REFUSALS,
    400: {"description": "The address is taken", "content": {**REFUSALS[400]["content"], **TAKEN}},
}
UserId = Annotated[int, Path(ge=1, le=ID_MAX)]


class AccessAnswer(BaseModel):
    """A token for half an hour."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - a kind, no token


class ClassicUserRequest(BaseModel):
    """Somebody new."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Ada", "email": "ada@example.com", "password": "a good long one"}]}
    )

    name: PlainText = Field(min_length=2, max_length=50)
    email: PlainText = Field(max_length=254, pattern=EMAIL)
    password: PlainText = Field(max_length=PASSWORD_MAX)


class ClassicUserAnswer(BaseModel):
    """Somebody, without anything that proves who they are."""

    id: int
    name: str
    email: str


@router.post(
    "/login",
    response_model=AccessAnswer,
    responses=LOGIN_ANSWERS,
    openapi_extra=dict(LOGIN),
)
async def login(request: Request) -> Response:
    """Give a bearer token for `username` (the e-mail address) and `password`; the page's own form signs in."""
    if not (username := await field(request, "username")):
        await form_token(request)
        return await page_login(request)
    doors = parts_of(request).doors
    try:
        person = await doors.sign_in(username, await field(request, "password"), address_of(request))
    except RequestError as error:
        if error.status != HTTPStatus.UNAUTHORIZED:
            raise
        return JSONResponse({"detail": "Invalid credentials"}, HTTPStatus.NOT_FOUND)
    return JSONResponse(AccessAnswer(access_token=await doors.access_token(person)).model_dump())


@router.get("/login", response_class=HTMLResponse, responses={303: {"description": "Signed in already"}, **REFUSALS})
async def show_form(request: Request, person: Caller) -> Response:
    """Show the page to sign in."""
    return await show_login(request, person)


@router.post("/user/", status_code=HTTPStatus.CREATED, response_model=ClassicUserAnswer, responses=ADD_ANSWERS)
async def add_user(request: Request, person: AnyCaller, wanted: ClassicUserRequest) -> Response:
    """Make an account: an admin for anybody, everybody for themselves where SLUICE_GATEWAY_SIGNUP is open."""
    parts = parts_of(request)
    if parts.settings.gateway_signup != "open" and not person.is_admin:
        _refuse(person)
    check_password(wanted.password, wanted.name, wanted.email)
    hashed = await parts.doors.passwords.hash(wanted.password)
    made = await parts.ledger.run(users.add, wanted.name, wanted.email, Role.USER.name.lower(), hashed)
    if made is None:
        return JSONResponse({"detail": "Email already exists"}, HTTPStatus.BAD_REQUEST)
    answer = ClassicUserAnswer(id=made, name=wanted.name, email=users.normalized(wanted.email))
    return JSONResponse(answer.model_dump(), HTTPStatus.CREATED)


@router.get("/user/", responses=answers(401, 403, 422, 429, 503))
async def list_users(request: Request, person: Bearer) -> list[ClassicUserAnswer]:
    """List people: admins see the first 1,000 (GET /api/v1/users has pages), others themselves."""
    if not person.is_admin:
        return [ClassicUserAnswer(id=person.id, name=person.name, email=person.email)]
    found = await parts_of(request).ledger.run(users.list_page, 0, MOST)
    return [_answer_of(each) for each in found]


@router.get("/user/{user_id}", responses=answers(401, 403, 404, 422, 429, 503))
async def get_user(request: Request, person: Bearer, user_id: UserId) -> ClassicUserAnswer:
    """Give one person: yourself, admins anybody."""
    _check_may(person, user_id)
    found = await parts_of(request).ledger.run(users.find, user_id)
    if found is None:
        raise _nobody(user_id)
    return _answer_of(found)


@router.delete(
    "/user/{user_id}", status_code=HTTPStatus.NO_CONTENT, responses=answers(401, 403, 404, 409, 422, 429, 503)
)
async def delete_user(request: Request, person: Bearer, user_id: UserId) -> None:
    """Delete one person: yourself, admins anybody but the last admin. Jobs and rows stay."""
    _check_may(person, user_id)
    parts = parts_of(request)
    outcome = await parts.ledger.run(users.delete, user_id)
    if outcome == "missing":
        raise _nobody(user_id)
    if outcome == "last_admin":
        raise RequestError(HTTPStatus.CONFLICT, "the last admin stays: make somebody else an admin first")
    parts.doors.forget()


def _refuse(person: Person) -> None:
    if not person.is_signed_in:
        raise RequestError(HTTPStatus.UNAUTHORIZED, "only admins add people here: send an admin's token")
    raise RequestError(HTTPStatus.FORBIDDEN, "only admins add people here: ask one")


def _check_may(person: Person, user_id: int) -> None:
    if not person.is_admin and person.id != user_id:
        raise _nobody(user_id)


def _nobody(user_id: int) -> RequestError:
    return RequestError(HTTPStatus.NOT_FOUND, f"there is nobody with id {user_id} that you may see")


def _answer_of(account: Account) -> ClassicUserAnswer:
    return ClassicUserAnswer(id=account.id, name=account.name, email=account.email)
