"""/api/v1/trainings: ask for models made of labelled pictures, see how far they are, have them end or go on.

For admins alone: a training shows pictures that it learned from, whoever they belong to.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from gateway import trainings
from gateway.api.answers import BODY, answers
from gateway.api.bounds import ID_MAX, PAGE, ListCursor, Moment, PageSize, PlainText, StrictRequest
from gateway.cursors import decode, next_page
from gateway.doors.callers import Admin
from gateway.parts import parts_of
from gateway.repeats import KEY_PARAMETER, body_of
from sluice.domain.source import SOURCE_MAX
from sluice.ledger import LedgerCursor, idempotency
from sluice.ledger.idempotency import RequestTicket
from sluice.ledger.trainings import BASE, NAME, SEED_MAX, VERSION, Training, Wish, newest

router = APIRouter(tags=["trainings"])

CURSOR: Final = "trainings"
FOUND: Final = answers(401, 403, 404, 422, 503)
CHANGED: Final = answers(401, 403, 404, 409, 422, 503)
TrainingId = Annotated[int, Path(ge=1, le=ID_MAX, description="The training's number", examples=[1])]


class TrainingRequest(StrictRequest):
    """What a model is to be made of: pictures below a source, people's corrections, or both."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "drugs", "source": "s3://photos/labelled/", "corrections": True}]}
    )

    name: str = Field(pattern=f"^{NAME.pattern}$", max_length=64, description="The model's name")
    source: PlainText = Field(
        default="", max_length=SOURCE_MAX, description="A prefix of LABEL/picture, a zip or tar of such, or a .csv"
    )
    version: str = Field(
        default="", pattern=f"^({VERSION.pattern})?$", max_length=16, description="Empty: the one after the last"
    )
    test: PlainText = Field(
        default="", max_length=SOURCE_MAX, description="Other pictures to test on; empty: some of the source's"
    )
    corrections: bool = Field(default=False, description="Learn from what people said of the model's answers, too")
    base: str = Field(
        default="efficientnet-lite0",
        pattern=f"^{BASE.pattern}$",
        max_length=64,
        description="The network to begin with",
    )
    fine_tune: bool = Field(default=False, description="Train the last blocks too: better, and takes longer")
    seed: int = Field(default=1, ge=0, le=SEED_MAX, description="The same pictures and seed give the same model")


class TrainingAnswer(BaseModel):
    """A training and how far it is."""

    id: int
    name: str = Field(examples=["drugs"])
    version: str = Field(description="Of the model that it makes; empty until it begins, unless it was asked for")
    source: str
    test: str
    corrections: bool
    base: str
    fine_tune: bool
    seed: int
    made_by: str
    state: str = Field(description="pending, running, cancelled, done or failed", examples=["running"])
    stage: str = Field(description="What its trainer is at", examples=["features"])
    done: int = Field(description="Steps of the stage that are done")
    total: int = Field(description="Steps of the stage")
    eta_seconds: float | None = Field(description="How long the stage will still take; null: nobody knows yet")
    message: str = Field(description="What it waits for, or failed of")
    findings: list[str] = Field(description="What was found in its pictures")
    created: Moment
    started: Moment | None
    finished: Moment | None


class TrainingsAnswer(BaseModel):
    """Trainings, the newest first; `next` is the cursor of the next page, if there is one."""

    trainings: list[TrainingAnswer]
    next: str | None = None


@router.get("/trainings", responses=answers(400, 401, 403, 422, 503), summary="List trainings")
async def list_trainings(
    request: Request, person: Admin, cursor: ListCursor = "", limit: PageSize = PAGE
) -> TrainingsAnswer:
    """List what was asked for, and what came of it."""
    del person
    after = decode(CURSOR, cursor, (int,))
    before = min(int(after[0]), ID_MAX + 1) if after else ID_MAX + 1
    found = await parts_of(request).ledger.run(newest, before, limit + 1)
    following = next_page(CURSOR, [each.id for each in found], limit)
    return TrainingsAnswer(trainings=[answer_of(each) for each in found[:limit]], next=following)


@router.post(
    "/trainings",
    status_code=HTTPStatus.CREATED,
    response_model=TrainingAnswer,
    responses=answers(*BODY, 401, 403, 409, 422, 503),
    openapi_extra={"parameters": [KEY_PARAMETER]},
    summary="Ask for a training",
)
async def ask(request: Request, person: Admin, wish: TrainingRequest) -> Response:
    """Have a new version of a model made; a trainer takes it up, and the model store gets what it makes."""
    asked = Wish(**wish.model_dump(), made_by=person.name)

    async def work(ticket: RequestTicket | None) -> TrainingAnswer:
        def keep(cursor: LedgerCursor, made: Training) -> None:
            if ticket is not None:
                idempotency.finish(cursor, ticket, HTTPStatus.CREATED, body_of(answer_of(made)))

        return answer_of(await trainings.ask(parts_of(request), person, asked, keep))

    body = wish.model_dump_json().encode()
    return await parts_of(request).repeats.once(request, person, [body], HTTPStatus.CREATED, work)


@router.get("/trainings/{training_id}", responses=FOUND, summary="How far a training is")
async def get_training(request: Request, person: Admin, training_id: TrainingId) -> TrainingAnswer:
    """Say how far a training is. Once it is done, `GET /models/{name}/{version}` has the card of what it made."""
    del person
    return answer_of(await trainings.find(parts_of(request), training_id))


@router.post("/trainings/{training_id}/cancel", responses=CHANGED, summary="Cancel a training")
async def cancel(request: Request, person: Admin, training_id: TrainingId) -> TrainingAnswer:
    """End a training; its trainer stops within seconds."""
    return answer_of(await trainings.change(parts_of(request), person, training_id, "cancel"))


@router.post("/trainings/{training_id}/retry", responses=CHANGED, summary="Let a training go on")
async def retry(request: Request, person: Admin, training_id: TrainingId) -> TrainingAnswer:
    """Let a training that failed or was cancelled go on where it was."""
    return answer_of(await trainings.change(parts_of(request), person, training_id, "retry"))


def answer_of(training: Training) -> TrainingAnswer:
    """Return a training as the API says it."""
    return TrainingAnswer.model_validate(training, from_attributes=True)
