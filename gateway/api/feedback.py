"""/api/v1/feedback: what people say of predictions."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.answers import BODY, answers
from gateway.api.bounds import COMMENT_MAX, OBJECT_MAX, PAGE, ListCursor, Moment, PageSize, PlainText, StrictRequest
from gateway.cursors import decode, next_page
from gateway.doors.callers import Admin, User
from gateway.parts import parts_of
from gateway.reports import keep_report, whose
from sluice.domain import LABEL_MAX
from sluice.ledger.reports import Report, list_reports, wrong_shares

router = APIRouter(tags=["feedback"])

CURSOR: Final = "feedback"
NEWEST: Final = 2**63


class ReportRequest(StrictRequest):
    """What a picture really shows."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"object_id": 1, "label": "tabby", "comment": "it is striped"}]}
    )

    object_id: int = Field(ge=1, le=OBJECT_MAX, description="As predictions and results say it")
    label: PlainText = Field(min_length=1, max_length=LABEL_MAX, description="The right label; the same: it was right")
    comment: PlainText = Field(default="", max_length=COMMENT_MAX)


class ReportAnswer(BaseModel):
    """What somebody said of a prediction, and what the prediction was then."""

    id: int
    object_id: int
    file_name: str
    predicted: str
    score: float | None
    label: str
    comment: str
    author: str
    created: Moment


class ReportsAnswer(BaseModel):
    """Reports, the newest first."""

    reports: list[ReportAnswer]
    next: str | None = None


class WrongShareAnswer(BaseModel):
    """Of the reports on predictions of one label, how many say another one."""

    label: str
    reports: int
    wrong: int
    share: float


class WrongSharesAnswer(BaseModel):
    """By predicted label, those with most wrong ones first; of the newest 100,000 reports."""

    labels: list[WrongShareAnswer]


@router.get("/feedback", responses=answers(400, 401, 403, 422, 503), summary="Your reports")
async def list_feedback(
    request: Request, person: User, cursor: ListCursor = "", limit: PageSize = PAGE
) -> ReportsAnswer:
    """List your reports; admins see everybody's."""
    after = decode(CURSOR, cursor, (int,))
    before = min(int(after[0]), NEWEST) if after else NEWEST
    found = await parts_of(request).ledger.run(list_reports, whose(person), before_id=before, limit=limit + 1)
    following = next_page(CURSOR, [each.id for each in found], limit)
    return ReportsAnswer(reports=[_answer_of(each) for each in found[:limit]], next=following)


@router.post(
    "/feedback",
    status_code=HTTPStatus.CREATED,
    responses=answers(*BODY, 401, 403, 404, 422, 503),
    summary="Say what a picture really shows",
)
async def post_feedback(request: Request, person: User, said: ReportRequest) -> ReportAnswer:
    """Report on the prediction of an object that you may see; your second report on it replaces the first."""
    made = await keep_report(parts_of(request), person, said.object_id, said.label, said.comment)
    return _answer_of(made)


@router.get(
    "/feedback.csv",
    response_class=StreamingResponse,
    responses={
        **answers(401, 403, 503),
        200: {"content": {"text/csv": {"schema": {"type": "string", "format": "binary"}}}},
    },
    summary="Your reports as CSV",
)
async def feedback_csv(request: Request, person: User) -> StreamingResponse:
    """Give your reports as a file, admins everybody's; a text that a spreadsheet would run has a ' before it."""
    return await parts_of(request).exports.reports(person, whose(person))


@router.get("/feedback/shares", responses=answers(401, 403, 503), summary="The share that was wrong, by label")
async def get_shares(request: Request, person: Admin) -> WrongSharesAnswer:
    """Say by predicted label how many of the reports on it name another one."""
    del person
    found = await parts_of(request).ledger.run(wrong_shares)
    return WrongSharesAnswer(
        labels=[
            WrongShareAnswer(label=each.label, reports=each.reports, wrong=each.wrong, share=each.share)
            for each in found
        ]
    )


def _answer_of(row: Report) -> ReportAnswer:
    return ReportAnswer(
        id=row.id,
        object_id=row.object_id,
        file_name=row.file_name,
        predicted=row.predicted,
        score=row.score,
        label=row.label,
        comment=row.comment,
        author=row.author,
        created=row.created,
    )
