"""POST /upload and POST /predict-batch: a zip in, all its predictions out, asked for by its name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, Final, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.answers import answers
from gateway.api.bounds import PlainText
from gateway.classic.callers import REFUSALS, Anybody
from gateway.classic.pictures import FILE, form_of
from gateway.parts import parts_of
from gateway.uploads.body import ArchiveBody
from gateway.uploads.found import find_upload, prediction_json
from gateway.uploads.names import NAME_MAX
from gateway.uploads.taking import take_archive
from sluice.ledger import uploads

router = APIRouter(tags=["classic"])

TOO_EARLY: Final = "Data is being preprocessed on cloud. Try again later."
FOUND: Final[dict[int | str, dict[str, Any]]] = {
    **REFUSALS,
    **answers(404, 409),
    200: {
        "description": "`json` with all predictions, or `string` with why there are none yet",
        "content": {"application/json": {"schema": {"type": "object"}}},
    },
}


class UploadMessage(BaseModel):
    """That an archive was taken in."""

    message: Literal["File uploaded successfully."] = "File uploaded successfully."


class BatchRequest(BaseModel):
    """The archive that is asked about."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"file_name": "holiday.zip"}]})

    file_name: PlainText = Field(min_length=1, max_length=NAME_MAX)


class BatchMessage(BaseModel):
    """Why there is no prediction yet."""

    type: Literal["string"] = "string"
    content: str = TOO_EARLY


@router.post("/upload", responses={**REFUSALS, **answers(408, 415)}, openapi_extra=dict(form_of(file=FILE)))
async def upload(request: Request, person: Anybody) -> UploadMessage:
    """Take the form's `file`, a zip or tar, and make it a job."""
    await take_archive(parts_of(request), person, ArchiveBody(request))
    return UploadMessage()


@router.post("/predict-batch", response_model=None, responses=FOUND)
async def predict_batch(request: Request, person: Anybody, wanted: BatchRequest) -> Response | BatchMessage:
    """Give the predictions of the archive that was sent last under a name, once its job is done."""
    parts = parts_of(request)
    newest = await parts.ledger.run(uploads.newest, person.id, wanted.file_name)
    if newest is None:
        return BatchMessage()
    found = await find_upload(parts.ledger, person, newest.id)
    if found.is_under_way:
        return BatchMessage()
    found.check_done()
    return StreamingResponse(
        _wrapped(prediction_json(parts.ledger, parts.store.bucket, newest)),
        HTTPStatus.OK,
        {"Content-Disposition": "attachment; filename=prediction.json"},
        "application/json",
    )


async def _wrapped(content: AsyncIterator[str]) -> AsyncIterator[str]:
    yield '{"type": "json", "content": '
    async for each in content:
        yield each
    yield "}"
