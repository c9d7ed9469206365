"""/api/v1/jobs/{id}/quarantine: what was given up, why, what to do about it, and trying it again."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from gateway import jobs
from gateway.api.answers import BODY, answers
from gateway.api.bounds import OBJECT_MAX, PAGE, JobId, ListCursor, Moment, PageSize, PlainText, StrictRequest
from gateway.cursors import CURSOR_MAX, decode, encode
from gateway.doors.callers import User, Viewer
from gateway.parts import parts_of
from sluice.domain import Reason
from sluice.ledger.quarantine_pages import quarantine_page
from sluice.ledger.rows import QuarantinedObject

router = APIRouter(tags=["quarantine"])

CURSOR: Final = "quarantine"
REASON_MAX: Final = 32
IDS_MAX: Final = 1000


class QuarantinedAnswer(BaseModel):
    """An object that was given up."""

    id: int
    url: str = Field(examples=["s3://photos/2024/notes.txt"])
    reason: str = Field(examples=[Reason.NOT_AN_IMAGE.value])
    description: str = Field(description="What the reason means")
    remedy: str = Field(description="What to do about it")
    detail: str = Field(description="What was found")
    size: int
    when: Moment


class QuarantineAnswer(BaseModel):
    """Quarantined objects; with a reason a page may have few or none of them although another one follows."""

    objects: list[QuarantinedAnswer]
    next: str | None = None


class ReplayRequest(StrictRequest):
    """What is to be tried again: some objects, all of a reason, or (with neither) all of the job."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": Reason.NOT_FOUND.value}]})

    ids: list[Annotated[int, Field(ge=1, le=OBJECT_MAX)]] | None = Field(
        default=None, min_length=1, max_length=IDS_MAX, description="Objects by number"
    )
    reason: PlainText | None = Field(default=None, max_length=REASON_MAX, description="Only this reason's")
    cursor: PlainText = Field(default="", max_length=CURSOR_MAX, description="`next` of the request before")


class ReplayAnswer(BaseModel):
    """How many objects wait to be classified again; `next` goes on where one request does not do all."""

    replayed: int
    next: str | None = None


@router.get(
    "/jobs/{job_id}/quarantine", responses=answers(400, 401, 403, 404, 422, 503), summary="What was given up, and why"
)
async def list_quarantine(
    request: Request,
    person: Viewer,
    job_id: JobId,
    reason: Annotated[PlainText | None, Query(max_length=REASON_MAX, description="Only this reason's code")] = None,
    cursor: ListCursor = "",
    limit: PageSize = PAGE,
) -> QuarantineAnswer:
    """List a job's quarantine, in order of the objects."""
    jobs.known_reason(reason)
    parts = parts_of(request)
    await jobs.see(parts, person, job_id)
    after = decode(CURSOR, cursor, (int,))
    page = await parts.ledger.run(quarantine_page, job_id, reason, after_id=int(after[0]) if after else 0, limit=limit)
    following = None if page.next is None else encode(CURSOR, [page.next])
    return QuarantineAnswer(objects=[_answer_of(row) for row in page.rows], next=following)


@router.post(
    "/jobs/{job_id}/quarantine/replay",
    responses=answers(*BODY, 401, 403, 404, 409, 422, 503),
    summary="Try quarantined objects again",
)
async def replay(request: Request, person: User, job_id: JobId, wish: ReplayRequest) -> ReplayAnswer:
    """Make quarantined objects pending again; a job that was done runs again.

    Objects that still can't be classified come back to the quarantine.
    """
    after = decode(CURSOR, wish.cursor, (int,))
    done = await jobs.replay(parts_of(request), person, job_id, wish.ids, wish.reason, int(after[0]) if after else 0)
    return ReplayAnswer(replayed=done.replayed, next=None if done.after is None else encode(CURSOR, [done.after]))


def _answer_of(row: QuarantinedObject) -> QuarantinedAnswer:
    known = Reason.of_code(row.reason)
    return QuarantinedAnswer(
        id=row.id,
        url=row.url,
        reason=row.reason,
        description=known.description if known else "",
        remedy=known.remedy if known else "",
        detail=row.detail,
        size=row.size,
        when=row.when,
    )
