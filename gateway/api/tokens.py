"""/api/v1/tokens: one's own personal tokens, for programs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from gateway import cursors, people
from gateway.api.answers import BODY, answers
from gateway.api.bounds import ID_MAX, PAGE, ListCursor, Moment, PageSize, PlainText, StrictRequest
from gateway.doors.callers import SignedIn
from gateway.parts import parts_of
from sluice.domain.accounts import NAME_MAX
from sluice.ledger import tokens

router = APIRouter(tags=["tokens"])

DAYS_MAX: Final = 3650


class TokenRequest(StrictRequest):
    """A token to make."""

    name: Annotated[PlainText, Field(min_length=1, max_length=NAME_MAX, examples=["nightly upload"])]
    days: int | None = Field(default=90, ge=1, le=DAYS_MAX, description="Days it lasts; null: until it is revoked")


class TokenAnswer(BaseModel):
    """A token, without what it is."""

    id: int
    name: str = Field(examples=["nightly upload"])
    created: Moment
    expires: Moment | None
    used: Moment | None = Field(description="When it was last used, to the minute")


class NewTokenAnswer(BaseModel):
    """A new token: this is the only time that it is shown."""

    id: int
    token: str = Field(examples=["sluice_Zm9yLWV4YW1wbGUtb25seQ"])


class TokensAnswer(BaseModel):
    """Tokens by number; `next` is where the next page begins, if there is one."""

    tokens: list[TokenAnswer]
    next: str | None = None


@router.get("/tokens", responses=answers(400, 401, 403, 422, 503), summary="Your tokens")
async def list_tokens(
    request: Request, person: SignedIn, cursor: ListCursor = "", limit: PageSize = PAGE
) -> TokensAnswer:
    """List your tokens by number."""
    after = cursors.decode("tokens", cursor, (int,)) or (0,)
    found = await parts_of(request).ledger.run(tokens.list_tokens, person.id, int(after[0]), limit + 1)
    more = cursors.next_page("tokens", [each.id for each in found], limit)
    shown = [TokenAnswer.model_validate(each, from_attributes=True) for each in found[:limit]]
    return TokensAnswer(tokens=shown, next=more)


@router.post(
    "/tokens", status_code=HTTPStatus.CREATED, responses=answers(*BODY, 401, 403, 409, 422, 503), summary="Make a token"
)
async def make_token(request: Request, person: SignedIn, wanted: TokenRequest) -> NewTokenAnswer:
    """Make a token that does what you may do; only its digest is kept."""
    made, token = await people.make_token(parts_of(request), person, wanted.name, wanted.days)
    return NewTokenAnswer(id=made, token=token)


@router.delete(
    "/tokens/{token_id:int}",
    status_code=HTTPStatus.NO_CONTENT,
    responses=answers(401, 403, 404, 422, 503),
    summary="Revoke a token",
)
async def revoke_token(request: Request, person: SignedIn, token_id: Annotated[int, Path(ge=1, le=ID_MAX)]) -> None:
    """Revoke a token of yours."""
    await people.revoke_token(parts_of(request), person, token_id)
