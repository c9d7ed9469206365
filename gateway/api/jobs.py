"""/api/v1/jobs: submit a prefix or an archive, see how far jobs are, steer them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from gateway import jobs
from gateway.api.answers import BODY, answers
from gateway.api.bounds import (
    ID_MAX,
    MODEL_MAX,
    PAGE,
    PRIORITY_MAX,
    JobId,
    ListCursor,
    Moment,
    PageSize,
    PlainText,
    StrictRequest,
)
from gateway.cursors import decode, next_page
from gateway.doors.callers import User, Viewer
from gateway.doors.person import Person
from gateway.jobs import Beside, JobWish
from gateway.parts import parts_of
from gateway.repeats import KEY_PARAMETER, body_of
from sluice.domain import LABEL_MAX
from sluice.domain.source import BUCKET, SOURCE_MAX
from sluice.ledger import LedgerCursor, idempotency
from sluice.ledger.again import Repetition
from sluice.ledger.idempotency import RequestTicket
from sluice.ledger.seen import SeenJob

router = APIRouter(tags=["jobs"])

CURSOR: Final = "jobs"
SOURCE_PATTERN: Final = f"^s3://{BUCKET.pattern}(/|$)"
"""For the description alone: what is wrong with a source is said in words."""
LISTED: Final = answers(400, 401, 403, 422, 503)
FOUND: Final = answers(401, 403, 404, 422, 503)
CHANGED: Final = answers(401, 403, 404, 409, 422, 503)


class JobRequest(StrictRequest):
    """What a job is to do."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"source": "s3://photos/2024/", "priority": 5}]})

    source: PlainText = Field(
        max_length=SOURCE_MAX,
        json_schema_extra={"pattern": SOURCE_PATTERN},
        description="s3://bucket/prefix/, or a zip or tar in a bucket; users: permitted ones only",
    )
    model: PlainText = Field(default="", max_length=MODEL_MAX, description="name or name@version; empty: the live one")
    archives: bool = Field(default=False, description="Classify what is in the zips and tars there")
    priority: int = Field(default=0, ge=-PRIORITY_MAX, le=PRIORITY_MAX, description="Jobs with more come first")
    watch: bool = Field(default=False, description="List again and again; the job has no end")
    watch_seconds: int = Field(default=60, ge=10, le=86_400, description="Seconds between two listings")


class AgainRequest(StrictRequest):
    """Which of an earlier job's objects are to be answered again, and by which model."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "noop@1.0", "below": 0.6}]})

    model: PlainText = Field(default="", max_length=MODEL_MAX, description="name or name@version; empty: the live one")
    below: float | None = Field(default=None, gt=0, le=1, description="Only what the earlier job was less sure of")
    label: PlainText | None = Field(
        default=None, min_length=1, max_length=LABEL_MAX, description="Only what the earlier job called so"
    )
    priority: int = Field(default=0, ge=-PRIORITY_MAX, le=PRIORITY_MAX, description="Jobs with more come first")


class PriorityRequest(StrictRequest):
    """How urgent a job is from now on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"priority": 10}]})

    priority: int = Field(ge=-PRIORITY_MAX, le=PRIORITY_MAX, description="Jobs with more come first")


class JobAnswer(BaseModel):
    """A job and how far it is."""

    id: int
    source: str = Field(examples=["s3://photos/2024/"])
    model: str = Field(description="As it was asked for; empty: the live one at the job's beginning")
    state: str = Field(description="pending, running, paused, cancelled, done or failed", examples=["running"])
    message: str = Field(description="What the job waits for, or failed of")
    priority: int
    watch: bool
    listed: int = Field(description="Objects: pending + done + quarantined + superseded")
    pending: int
    done: int
    quarantined: int
    superseded: int
    listing_complete: bool
    images_per_second: float
    eta_seconds: float | None
    created: Moment
    started: Moment | None
    finished: Moment | None
    owner: str | None = Field(description="Who submitted it, for admins; null: command line, SQL, or not signed in")
    may_change: bool = Field(description="Whether you may pause, cancel and replay it")


class JobsAnswer(BaseModel):
    """Jobs, the newest first; `next` is the cursor of the next page, if there is one."""

    jobs: list[JobAnswer]
    next: str | None = None


@router.get("/jobs", responses=LISTED, summary="List jobs")
async def list_jobs(request: Request, person: Viewer, cursor: ListCursor = "", limit: PageSize = PAGE) -> JobsAnswer:
    """List your jobs, and those of nobody in particular (command line, SQL); admins see all."""
    after = decode(CURSOR, cursor, (int,))
    before = min(int(after[0]), ID_MAX + 1) if after else ID_MAX + 1
    found = await jobs.see_page(parts_of(request), person, before, limit + 1)
    following = next_page(CURSOR, [each.owned.job.id for each in found], limit)
    return JobsAnswer(jobs=[answer_of(each, person) for each in found[:limit]], next=following)


@router.post(
    "/jobs",
    status_code=HTTPStatus.CREATED,
    response_model=JobAnswer,
    responses=answers(*BODY, 401, 403, 404, 409, 422, 503),
    openapi_extra={"parameters": [KEY_PARAMETER]},
    summary="Submit a job",
)
async def submit(request: Request, person: User, wish: JobRequest) -> Response:
    """Have all images of a bucket, prefix or archive classified.

    Users may submit sources below SLUICE_GATEWAY_SOURCES, admins any s3:// source.
    """
    asked = JobWish(**wish.model_dump())
    return await _once(request, person, wish, lambda keep: jobs.submit(parts_of(request), person, asked, keep))


@router.get("/jobs/{job_id}", responses=FOUND, summary="How far a job is")
async def get_job(request: Request, person: Viewer, job_id: JobId) -> JobAnswer:
    """Say what a job is and how far."""
    return answer_of(await jobs.see(parts_of(request), person, job_id), person)


@router.patch("/jobs/{job_id}", responses=CHANGED | answers(*BODY), summary="Say how urgent a job is")
async def set_priority(request: Request, person: User, job_id: JobId, wish: PriorityRequest) -> JobAnswer:
    """Set a job's priority; it counts from the next object on that is handed out."""
    return answer_of(await jobs.prioritize(parts_of(request), person, job_id, wish.priority), person)


@router.post("/jobs/{job_id}/pause", responses=CHANGED, summary="Pause a job")
async def pause(request: Request, person: User, job_id: JobId) -> JobAnswer:
    """Stop handing out a job's objects; what is under way is finished."""
    return answer_of(await jobs.change(parts_of(request), person, job_id, "paused"), person)


@router.post("/jobs/{job_id}/resume", responses=CHANGED, summary="Resume a job")
async def resume(request: Request, person: User, job_id: JobId) -> JobAnswer:
    """Let a paused job go on where it was."""
    return answer_of(await jobs.change(parts_of(request), person, job_id, "running"), person)


@router.post("/jobs/{job_id}/retry", responses=CHANGED, summary="Try a failed job again")
async def retry(request: Request, person: User, job_id: JobId) -> JobAnswer:
    """Let a job that failed go on where it was, now that what it failed of is mended."""
    return answer_of(await jobs.change(parts_of(request), person, job_id, "retried"), person)


@router.post("/jobs/{job_id}/cancel", responses=CHANGED, summary="Cancel a job")
async def cancel(request: Request, person: User, job_id: JobId) -> JobAnswer:
    """End a job for good; the predictions that it has stay."""
    return answer_of(await jobs.change(parts_of(request), person, job_id, "cancelled"), person)


@router.post(
    "/jobs/{job_id}/again",
    status_code=HTTPStatus.CREATED,
    response_model=JobAnswer,
    responses=answers(*BODY, 401, 403, 404, 409, 422, 503),
    openapi_extra={"parameters": [KEY_PARAMETER]},
    summary="Have a job's objects answered again",
)
async def submit_again(request: Request, person: User, job_id: JobId, wish: AgainRequest) -> Response:
    """Make a job of an earlier job's objects, without a listing; what the model has answered already is copied.

    Keys that hold other bytes by now are quarantined as changed_since.
    """
    chosen = Repetition(job_id, wish.below, wish.label)
    return await _once(
        request,
        person,
        wish,
        lambda keep: jobs.submit_again(parts_of(request), person, chosen, wish.model, wish.priority, keep),
    )


async def _once(
    request: Request, person: Person, wish: BaseModel, make: Callable[[Beside], Awaitable[SeenJob]]
) -> Response:
    """Answer with the job that `make` inserts; a repeated request with the same key gets the first one's answer."""

    async def work(ticket: RequestTicket | None) -> JobAnswer:
        def keep(cursor: LedgerCursor, made: SeenJob) -> None:
            if ticket is not None:
                idempotency.finish(cursor, ticket, HTTPStatus.CREATED, body_of(answer_of(made, person)))

        return answer_of(await make(keep), person)

    body = wish.model_dump_json().encode()
    return await parts_of(request).repeats.once(request, person, [body], HTTPStatus.CREATED, work)


def answer_of(seen: SeenJob, person: Person) -> JobAnswer:
    """Return a job as the API says it."""
    job, progress = seen.owned.job, seen.progress
    return JobAnswer(
        id=job.id,
        source=job.source,
        model=job.model,
        state=progress.state,
        message=progress.message,
        priority=job.priority,
        watch=job.watch,
        listed=progress.listed,
        pending=progress.pending,
        done=progress.done,
        quarantined=progress.quarantined,
        superseded=progress.superseded,
        listing_complete=progress.listing_complete,
        images_per_second=progress.images_per_second,
        eta_seconds=progress.eta_seconds,
        created=job.created,
        started=job.started,
        finished=job.finished,
        owner=seen.owned.owner or None if person.is_admin else None,
        may_change=seen.owned.may_change(person.id, is_admin=person.is_admin),
    )
