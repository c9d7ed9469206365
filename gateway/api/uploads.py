"""/api/v1/uploads: archives in, a job each; how far they are, and prediction.json."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field

from gateway.api.answers import answers
from gateway.api.bounds import MODEL_MAX, PAGE, PAGE_MAX, PRIORITY_MAX, Moment, PlainText
from gateway.doors.callers import User
from gateway.doors.person import Person
from gateway.exports import MEDIA
from gateway.parts import parts_of
from gateway.repeats import KEY_PARAMETER, body_of
from gateway.search import ResultsSearch
from gateway.uploads.body import ArchiveBody
from gateway.uploads.found import FoundUpload, find_upload, prediction_json
from gateway.uploads.names import NAME_MAX, UPLOAD_ID
from gateway.uploads.taking import take_archive
from sluice.exports import ExportFormat
from sluice.ledger import LedgerCursor, idempotency, uploads
from sluice.ledger.browse import ResultsFilter, ResultsOrder
from sluice.ledger.idempotency import RequestTicket
from sluice.ledger.uploads import ArchiveUpload, UploadState

router = APIRouter(tags=["uploads"])

BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
ALL: Final = ResultsSearch(ResultsFilter(), ResultsOrder.OBJECT, None)
OCTETS: Final[dict[str, Any]] = {
    "application/zip": BINARY,
    "application/x-tar": BINARY,
    "application/octet-stream": BINARY,
}
FORM: Final = {
    "schema": {
        "type": "object",
        "properties": {
            "model": {"type": "string", "maxLength": MODEL_MAX},
            "priority": {"type": "integer", "minimum": -PRIORITY_MAX, "maximum": PRIORITY_MAX},
            "file": {"type": "string", "format": "binary"},
        },
        "required": ["file"],
    }
}

UploadId = Annotated[str, Path(pattern=f"^{UPLOAD_ID}$", description="As the upload was answered")]
ModelSpec = Annotated[
    PlainText, Query(alias="model", max_length=MODEL_MAX, description="name or name@version; empty: the live one")
]
Priority = Annotated[int, Query(ge=-PRIORITY_MAX, le=PRIORITY_MAX, description="Jobs with more come first")]


class UploadAnswer(BaseModel):
    """An archive that was sent, and how far its job is."""

    id: str = Field(examples=["0f" * 16])
    name: str = Field(examples=["holiday.zip"])
    size: int
    created: Moment
    removed: Moment | None = Field(default=None, description="Since when the archive isn't kept; its results stay")
    job: int | None
    state: str = Field(description="The job's: pending, running, paused, cancelled, done, failed; deleted")
    message: str = Field(default="", description="What the job waits for, or failed of")
    listed: int = 0
    done: int = 0
    quarantined: int = 0
    listing_complete: bool | None = None
    images_per_second: float | None = None
    eta_seconds: float | None = None
    prediction: str = Field(description="Where prediction.json is, once the job is done")


class UploadsAnswer(BaseModel):
    """Uploads, the newest first; `next` is where the next page begins, if there is one."""

    uploads: list[UploadAnswer]
    next: str | None = None


@router.put(
    "/uploads/{name}",
    status_code=HTTPStatus.CREATED,
    response_model=UploadAnswer,
    responses=answers(400, 401, 403, 404, 408, 409, 413, 415, 422, 503),
    openapi_extra={"requestBody": {"required": True, "content": OCTETS}, "parameters": [KEY_PARAMETER]},
    summary="Upload an archive",
)
async def put(
    request: Request,
    person: User,
    name: Annotated[str, Path(max_length=NAME_MAX, description="Ends in .zip or .tar", examples=["holiday.zip"])],
    model: ModelSpec = "",
    priority: Priority = 0,
) -> Response:
    """Take an archive as the request's body, streamed, and make it a job."""
    return await _receive(request, person, ArchiveBody(request, name), model, priority)


@router.post(
    "/uploads",
    status_code=HTTPStatus.CREATED,
    response_model=UploadAnswer,
    responses=answers(400, 401, 403, 404, 408, 409, 413, 415, 422, 503),
    openapi_extra={
        "requestBody": {"required": True, "content": {"multipart/form-data": FORM, **OCTETS}},
        "parameters": [KEY_PARAMETER],
    },
    summary="Upload an archive",
)
async def post(
    request: Request,
    person: User,
    name: Annotated[str, Query(max_length=NAME_MAX, description="Needed unless a form says it")] = "",
    model: ModelSpec = "",
    priority: Priority = 0,
) -> Response:
    """Take an archive as the body or as form field `file`, streamed, and make it a job."""
    return await _receive(request, person, ArchiveBody(request, name), model, priority)


@router.get("/uploads", responses=answers(401, 403, 422, 503), summary="Uploads of your own")
async def listed(
    request: Request,
    person: User,
    before: Annotated[str, Query(pattern=f"^({UPLOAD_ID})?$", description="`next` of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE,
) -> UploadsAnswer:
    """List your uploads, the newest first. Who isn't signed in has none listed, and asks for each by its id."""
    if not person.is_signed_in:
        return UploadsAnswer(uploads=[])
    found = await parts_of(request).ledger.run(uploads.of_person, person.id, before, limit)
    more = found[-1].upload.id if len(found) == limit else None
    return UploadsAnswer(uploads=[answer_of_state(each) for each in found], next=more)


@router.get("/uploads/{upload_id}", responses=answers(401, 403, 404, 422, 503), summary="How far an upload is")
async def one(request: Request, person: User, upload_id: UploadId) -> UploadAnswer:
    """Say how far an upload's job is."""
    return answer_of_found(await find_upload(parts_of(request).ledger, person, upload_id))


@router.get(
    "/uploads/{upload_id}/results",
    response_class=StreamingResponse,
    responses={
        **answers(401, 403, 404, 409, 422, 501, 503),
        200: {"content": {media.partition(";")[0]: BINARY for media in MEDIA.values()}},
    },
    summary="All predictions of an archive as a file",
)
async def results(
    request: Request,
    person: User,
    upload_id: UploadId,
    as_format: Annotated[ExportFormat, Query(alias="format", description="What kind of file")] = ExportFormat.CSV,
) -> StreamingResponse:
    """Give all predictions as CSV, JSON lines or Parquet, streamed; while the job isn't done that is 409."""
    parts = parts_of(request)
    found = await find_upload(parts.ledger, person, upload_id)
    job_id = found.check_done()
    return await parts.exports.results(person, job_id, ALL, as_format)


@router.get(
    "/uploads/{upload_id}/prediction.json",
    response_class=StreamingResponse,
    responses={**answers(401, 403, 404, 409, 422, 503), 200: {"content": {"application/json": {}}}},
    summary="All predictions of an archive",
)
async def prediction(request: Request, person: User, upload_id: UploadId) -> StreamingResponse:
    """Give `{"holiday.zip": [["a/b.jpg", [["Egyptian_cat", 0.93], ... 10]], ...]}`, streamed, in the archive's order.

    While the job isn't done that is 409, with how far it is.
    """
    parts = parts_of(request)
    found = await find_upload(parts.ledger, person, upload_id)
    found.check_done()
    return StreamingResponse(
        prediction_json(parts.ledger, parts.store.bucket, found.upload),
        media_type="application/json",
        headers={"Content-Disposition": "attachment; filename=prediction.json"},
    )


async def _receive(request: Request, person: Person, body: ArchiveBody, model: str, priority: int) -> Response:
    """Take an archive in, once for an idempotency key."""
    parts = parts_of(request)

    async def work(ticket: RequestTicket | None) -> UploadAnswer:
        def keep(cursor: LedgerCursor, made: ArchiveUpload) -> None:
            if ticket is not None:
                idempotency.finish(cursor, ticket, HTTPStatus.CREATED, body_of(answer_of_new(made)))

        return answer_of_new(await take_archive(parts, person, body, model=model, priority=priority, beside=keep))

    length = str(body.declared).encode()
    return await parts.repeats.once(request, person, [length], HTTPStatus.CREATED, work)


def answer_of_new(made: ArchiveUpload) -> UploadAnswer:
    """Return what is said of an archive that has just come."""
    return answer_of_state(UploadState(made, "pending", 0, 0, 0, ""))


def answer_of_state(state: UploadState) -> UploadAnswer:
    """Return what is said of an upload in a list."""
    return UploadAnswer(
        id=state.upload.id,
        name=state.upload.name,
        size=state.upload.size,
        created=state.upload.created,
        removed=state.upload.removed,
        job=state.upload.job_id,
        state=state.state or "deleted",
        message=state.message,
        listed=state.listed,
        done=state.done,
        quarantined=state.quarantined,
        prediction=f"/api/v1/uploads/{state.upload.id}/prediction.json",
    )


def answer_of_found(found: FoundUpload) -> UploadAnswer:
    """Return what is said of one upload."""
    answer = answer_of_new(found.upload)
    if found.progress is None:
        answer.state = "deleted"
        return answer
    for name in ("state", "message", "listed", "done", "quarantined", "listing_complete"):
        setattr(answer, name, getattr(found.progress, name))
    answer.images_per_second = found.progress.images_per_second
    answer.eta_seconds = found.progress.eta_seconds
    return answer
