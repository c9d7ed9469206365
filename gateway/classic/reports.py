"""GET and POST /feedback for people, /feedback/ for programs: what somebody says of a prediction, or of the service."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.answers import answers
from gateway.api.bounds import COMMENT_MAX, Moment, PlainText, plain
from gateway.classic.callers import REFUSALS, Anybody, Bearer
from gateway.classic.pictures import form_of
from gateway.doors.fields import field
from gateway.pages.render import page
from gateway.parts import parts_of
from sluice.domain import LABEL_MAX
from sluice.errors import RequestError
from sluice.ledger import reports
from sluice.ledger.reports import NAME_MAX, Remark, Report

router = APIRouter(tags=["classic"])

NEWEST: Final = 500
THANKS: Final = "Thank you: your report is kept."


class RemarkRequest(BaseModel):
    """What somebody says of a prediction."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"score": 0.93, "predicted_class": "tabby", "image_file_name": "cat.jpg", "feedback": "it is a lynx"}
            ]
        }
    )

    score: float = Field(strict=True, ge=0, le=1, allow_inf_nan=False)
    predicted_class: PlainText = Field(max_length=LABEL_MAX)
    image_file_name: PlainText = Field(max_length=NAME_MAX)
    feedback: PlainText = Field(min_length=1, max_length=COMMENT_MAX)


class RemarkAnswer(BaseModel):
    """What was said, with its number."""

    id: int
    score: float | None
    predicted_class: str
    image_file_name: str
    feedback: str
    created: Moment


@router.get("/feedback", response_class=HTMLResponse, responses=answers(401, 403, 503))
async def show_feedback(request: Request, person: Anybody) -> Response:
    """Show the form for a report in words."""
    del person
    return await page(request, "classic_feedback.html", said="")


@router.post(
    "/feedback",
    responses=REFUSALS,
    openapi_extra=dict(form_of(report={"type": "string", "minLength": 1, "maxLength": COMMENT_MAX})),
)
async def post_feedback_text(request: Request, person: Anybody) -> Response:
    """Keep the text in the form's field `report`; GET /api/v1/feedback.csv gives all of them as CSV."""
    text = (await field(request, "report")).strip()
    if not 0 < len(text) <= COMMENT_MAX:
        raise RequestError(
            HTTPStatus.BAD_REQUEST, f"send a text of 1 to {COMMENT_MAX} characters as form field 'report'"
        )
    try:
        plain(text)
    except ValueError as error:
        raise RequestError(HTTPStatus.BAD_REQUEST, str(error)) from error
    await parts_of(request).ledger.run(reports.remark, Remark(person.id, person.name, text))
    if "text/html" in request.headers.get("accept", ""):
        return await page(request, "classic_feedback.html", said=THANKS)
    return JSONResponse({"message": THANKS})


@router.post("/feedback/", status_code=HTTPStatus.CREATED, responses=REFUSALS)
async def post_remark(request: Request, person: Bearer, said: RemarkRequest) -> RemarkAnswer:
    """Keep what is said of a prediction."""
    remark = Remark(person.id, person.name, said.feedback, said.predicted_class, said.score, said.image_file_name)
    return _answer_of(await parts_of(request).ledger.run(reports.remark, remark))


@router.get("/feedback/", responses=answers(401, 403, 422, 429, 503))
async def list_remarks(request: Request, person: Bearer) -> list[RemarkAnswer]:
    """List your own reports, the newest first, at most 500; GET /api/v1/feedback has pages."""
    found = await parts_of(request).ledger.run(reports.list_reports, person.id, limit=NEWEST)
    return [_answer_of(each) for each in found]


def _answer_of(report: Report) -> RemarkAnswer:
    return RemarkAnswer(
        id=report.id,
        score=report.score,
        predicted_class=report.predicted,
        image_file_name=report.file_name,
        feedback=report.comment or report.label,
        created=report.created,
    )
