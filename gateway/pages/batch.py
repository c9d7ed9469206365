"""Pages of archives: send one, see how far it is, and what is in it as a whole."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from gateway.api.bounds import ObjectId
from gateway.api.uploads import UploadId
from gateway.doors.callers import User
from gateway.doors.forms import FIELD, HEADER, streams_form
from gateway.doors.person import Person
from gateway.pages.pictures import THUMBNAIL, drawn
from gateway.pages.render import page
from gateway.parts import parts_of
from gateway.problems import headers_of
from gateway.uploads.body import ArchiveBody
from gateway.uploads.found import find_upload
from gateway.uploads.names import UPLOAD_ID
from gateway.uploads.taking import take_archive
from sluice.errors import RequestError
from sluice.ledger import models, seen, shown, uploads
from sluice.ledger.browse import FoundResult, results_page
from sluice.ledger.summary import ResultsSummary, summarize

router = APIRouter(include_in_schema=False)

SHOWN: Final = 50
PICTURES: Final = 24
NOTHING: Final = ResultsSummary(0, 0, (), ())


@router.get("/batch")
async def show_batch(
    request: Request, person: User, before: Annotated[str, Query(pattern=f"^({UPLOAD_ID})?$")] = ""
) -> Response:
    """Show the form, and the archives that the person sent."""
    return await _batch_page(request, person, before)


@router.post("/batch")
@streams_form
async def send_archive(request: Request, person: User) -> Response:
    """Take the form's archive and show how far it is; what is wrong is said beside the form."""
    parts = parts_of(request)

    async def permitted(fields: dict[str, str]) -> None:
        if HEADER not in request.headers:
            parts.doors.check_token(request, fields.get(FIELD, ""))

    try:
        made = await take_archive(parts, person, ArchiveBody(request), check=permitted)
    except RequestError as error:
        again = await _batch_page(request, person, "", error.detail, error.status)
        again.headers.update(headers_of(error, error.status))
        return again
    return RedirectResponse(f"/batch/{made.id}", HTTPStatus.SEE_OTHER)


@router.get("/batch/{upload_id}")
async def show_upload(request: Request, person: User, upload_id: UploadId) -> Response:
    """Show how far an archive is; at the end its pictures, its labels and scores, and the files to download."""
    return await _upload_page(request, person, upload_id, "batch_upload.html")


@router.get("/batch/{upload_id}/state")
async def show_upload_state(request: Request, person: User, upload_id: UploadId) -> Response:
    """Give the part of the page that changes."""
    return await _upload_page(request, person, upload_id, "batch_state.html")


@router.get("/batch/{upload_id}/pictures/{object_id}")
async def show_member(request: Request, person: User, upload_id: UploadId, object_id: ObjectId) -> Response:
    """Give a small picture of an archive: whoever has the archive's id may see what is in it."""
    parts = parts_of(request)
    found = await find_upload(parts.ledger, person, upload_id)
    picture = await parts.ledger.run(shown.find, object_id, person.id, is_admin=True)
    if picture is None or picture.job_id != found.upload.job_id:
        raise RequestError(HTTPStatus.NOT_FOUND, f"there is no picture {object_id} in this archive")
    return await drawn(request, picture, THUMBNAIL)


async def _batch_page(
    request: Request, person: Person, before: str, error: str = "", status: int = HTTPStatus.OK
) -> Response:
    parts = parts_of(request)
    found = await parts.ledger.run(uploads.of_person, person.id, before, SHOWN) if person.is_signed_in else []
    return await page(
        request,
        "batch.html",
        status,
        error=error,
        models=await parts.ledger.run(models.list_models),
        uploads=found,
        next=found[-1].upload.id if len(found) == SHOWN else None,
    )


async def _upload_page(request: Request, person: Person, upload_id: str, template: str) -> Response:
    parts = parts_of(request)
    found = await find_upload(parts.ledger, person, upload_id)
    job, rows, summary = None, [], NOTHING
    if found.upload.job_id is not None:
        # Whoever may see the upload may see its job.
        job = await parts.ledger.run(seen.one, found.upload.job_id, person.id, is_admin=True)
    if job is not None and job.progress.state == "done":
        rows = await _pictures(request, job.owned.job.id)
        summary = await parts.ledger.run(summarize, job.owned.job.id)
    return await page(request, template, found=found, seen=job, rows=rows, summary=summary)


async def _pictures(request: Request, job_id: int) -> list[FoundResult]:
    found = await parts_of(request).ledger.run(results_page, job_id, limit=PICTURES)
    return list(found.rows)
