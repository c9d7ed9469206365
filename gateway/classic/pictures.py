"""POST /predict and POST /model/predict: pictures of a form, answered as small services answer."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import PurePath
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, Field
from starlette.datastructures import FormData, UploadFile
from typing_extensions import TypedDict

from gateway.api.bounds import PlainText
from gateway.classic.callers import REFUSALS, Anybody, Bearer
from gateway.classifier import Classified, DroppedPicture
from gateway.doors.person import Person
from gateway.dropped import NAME_MAX, is_form, read_form, too_large, too_many
from gateway.parts import parts_of
from sluice.errors import RequestError
from sluice.ledger import pictures

router = APIRouter(tags=["classic"])

ENDS: Final = frozenset({".png", ".jpg", ".jpeg", ".gif"})
TOP: Final = 10
DIGITS: Final = 4
PictureName = Annotated[PlainText, Path(max_length=NAME_MAX)]
FILE: Final = {"type": "string", "format": "binary"}


class OnePrediction(BaseModel):
    """What is in a picture; without success there is nothing to say."""

    success: bool
    prediction: str | None = Field(examples=["Egyptian_cat"])
    score: float | None = Field(examples=[0.9346])


class NamedPrediction(OnePrediction):
    """The same, with the picture's name, by which reports name it."""

    image_file_name: str


class FormSchema(TypedDict):
    """What a route takes as its body, for the API's description."""

    requestBody: dict[str, Any]


def form_of(**properties: Any) -> FormSchema:  # noqa: ANN401 - a JSON schema
    """Return the description of a form with these fields."""
    schema = {"type": "object", "properties": properties}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


FAILED: Final = OnePrediction(success=False, prediction=None, score=None)
PREDICT: Final = form_of(file=FILE, images={"type": "array", "items": FILE})
PREDICTED: Final[dict[int | str, dict[str, Any]]] = {
    **REFUSALS,
    200: {
        "description": "Of `file` its class; of `images` ten classes each",
        "content": {"application/json": {"schema": {"type": ["object", "array"]}}},
    },
    400: {"model": OnePrediction, "description": "No picture"},
}


@router.post("/predict", response_model=None, responses=PREDICTED, openapi_extra=dict(PREDICT))
@router.post("/predict/", response_model=None, responses=PREDICTED, include_in_schema=False)
async def predict(request: Request, person: Anybody) -> Response:
    """Say what is in the form's `file`; of several `images` say the ten likeliest classes of each, in their order."""
    try:
        form = await _form(request)
        parts = form.getlist("images")
        images = [part for part in parts if isinstance(part, UploadFile)]
        if len(images) < len(parts):
            return _failed()
        if images:
            found = await _classify(request, person, images)
            failed = any(each.reason for each in found)
            return _failed() if failed else JSONResponse([_top(each) for each in found])
        file = _file(form)
        if file is None:
            return _failed()
        (only,) = await _classify(request, person, [file])
    except RequestError as error:
        if error.status != HTTPStatus.BAD_REQUEST:
            raise
        return _failed()
    return _failed() if only.reason else JSONResponse(_one(only).model_dump())


@router.post(
    "/model/predict",
    response_model=NamedPrediction,
    responses={**REFUSALS, 400: {"description": "No picture"}},
    openapi_extra=dict(form_of(file=FILE)),
)
async def model_predict(request: Request, person: Bearer) -> Response:
    """Say what is in the form's `file`, and by which name reports are to name it."""
    file = _file(await _form(request))
    if file is None:
        return JSONResponse({"detail": "File type is not supported."}, HTTPStatus.BAD_REQUEST)
    (found,) = await _classify(request, person, [file])
    if found.reason:
        return JSONResponse({"detail": "File type is not supported."}, HTTPStatus.BAD_REQUEST)
    named = NamedPrediction(**_one(found).model_dump(), image_file_name=found.name)
    return JSONResponse(named.model_dump())


@router.get(
    "/display/{name}",
    status_code=HTTPStatus.SEE_OTHER,
    response_class=RedirectResponse,
    responses={**REFUSALS, 404: {"description": "No such picture"}},
)
async def display(request: Request, person: Anybody, name: PictureName) -> RedirectResponse:
    """Redirect to the picture that was dropped last under a name."""
    object_id = await parts_of(request).ledger.run(pictures.newest, person.id, name)
    if object_id is None:
        raise RequestError(HTTPStatus.NOT_FOUND, f"no picture of yours is called {name!r}: drop it first")
    return RedirectResponse(f"/pictures/{object_id}/thumbnail", HTTPStatus.SEE_OTHER)


async def _form(request: Request) -> FormData:
    if not is_form(request):
        raise RequestError(HTTPStatus.BAD_REQUEST, "send multipart/form-data with field 'file'")
    return await read_form(request, parts_of(request).settings)


def _file(form: FormData) -> UploadFile | None:
    """Return the form's file, if its name is a picture's."""
    file = form.get("file")
    if isinstance(file, UploadFile) and PurePath(file.filename or "").suffix.lower() in ENDS:
        return file
    return None


async def _classify(request: Request, person: Person, files: list[UploadFile]) -> list[Classified]:
    parts = parts_of(request)
    if len(files) > parts.settings.gateway_files:
        raise too_many(parts.settings)
    if any((each.size or 0) > parts.settings.gateway_picture_bytes for each in files):
        raise too_large(parts.settings.gateway_picture_bytes)
    usable = await parts.models.get("")
    dropped = [DroppedPicture((each.filename or "picture")[:NAME_MAX], await each.read()) for each in files]
    return await parts.classifier.classify(person.id, usable, dropped)


def _one(found: Classified) -> OnePrediction:
    label, score = found.top[0]
    return OnePrediction(success=True, prediction=label.replace(" ", "_"), score=round(score, DIGITS))


def _top(found: Classified) -> list[tuple[str, float]]:
    return [(label.replace(" ", "_"), score) for label, score in found.top[:TOP]]


def _failed() -> JSONResponse:
    return JSONResponse(FAILED.model_dump(), HTTPStatus.BAD_REQUEST)
