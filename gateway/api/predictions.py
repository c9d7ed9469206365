"""POST /api/v1/predictions: pictures in, classes out; each is a row from then on."""

from __future__ import annotations

from http import HTTPStatus
from itertools import chain
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field, ValidationError

from gateway.api.answers import BODY, answers
from gateway.api.bounds import MODEL_MAX, PlainText
from gateway.classifier import Classified
from gateway.doors.callers import User
from gateway.dropped import read_fields, read_pictures
from gateway.parts import parts_of
from gateway.repeats import KEY_PARAMETER
from sluice.ledger.idempotency import RequestTicket

router = APIRouter(tags=["predictions"])

TOP_MAX: Final = 10
TOP: Final = 5
MODEL_SAID: Final = "name or name@version; empty: the live one"
TOP_SAID: Final = "So many classes, the best first"


class FormFields(BaseModel):
    """What a form may say beside its pictures, by the names of the URL's parameters; it goes before those."""

    model: PlainText = Field(default="", max_length=MODEL_MAX, description=MODEL_SAID)
    top: int | None = Field(default=None, ge=1, le=TOP_MAX, description=TOP_SAID)


FIELDS: Final = ("file", *FormFields.model_fields)
BODIES: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "model": {"type": "string", "maxLength": MODEL_MAX, "description": MODEL_SAID},
                        "top": {"type": "integer", "minimum": 1, "maximum": TOP_MAX, "description": TOP_SAID},
                    },
                    "required": ["file"],
                    "additionalProperties": False,
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


class LabelScore(BaseModel):
    """A class and how sure the model is of it, from 0 to 1."""

    label: str = Field(examples=["Egyptian_cat"])
    score: float = Field(examples=[0.9346])


class PictureAnswer(BaseModel):
    """What became of one picture: a prediction, or the reason why there is none."""

    name: str = Field(examples=["cat.jpg"])
    sha256: str
    model: str = Field(examples=["efficientnet-lite0@1.0"])
    seconds: float
    id: int | None = Field(default=None, description="The object in the ledger; results and reports go by it.")
    label: str | None = Field(default=None, examples=["Egyptian_cat"])
    score: float | None = Field(default=None, examples=[0.9346])
    top: list[LabelScore] = []
    cached: bool = False
    reason: str | None = Field(default=None, description="Why there is no prediction, as in the quarantine.")
    detail: str | None = None
    remedy: str | None = None


class PredictionsAnswer(BaseModel):
    """One answer a picture, in the order they were sent."""

    predictions: list[PictureAnswer]


@router.post(
    "/predictions",
    response_model=PredictionsAnswer,
    responses=answers(*BODY, 401, 403, 404, 409, 422, 503),
    openapi_extra={**BODIES, "parameters": [KEY_PARAMETER]},
    summary="Classify pictures",
)
async def predict(
    request: Request,
    person: User,
    model: Annotated[str, Query(max_length=MODEL_MAX, description=MODEL_SAID)] = "",
    top: Annotated[int, Query(ge=1, le=TOP_MAX, description=TOP_SAID)] = TOP,
) -> Response:
    """Classify the pictures of a form (field `file`, several times) or one picture that is the body itself.

    A form may say `model` and `top` too. A picture that can't be classified has its reason beside the others' answers.
    """
    parts = parts_of(request)
    said = _checked(await read_fields(request, parts.settings, FIELDS))
    usable = await parts.models.get(said.model.strip() or model)
    shown = said.top or top
    pictures = await read_pictures(request, parts.settings)

    async def work(_: RequestTicket | None) -> PredictionsAnswer:
        found = await parts.classifier.classify(person.id, usable, pictures)
        return PredictionsAnswer(predictions=[answer_of(each, shown) for each in found])

    fields = [f"{name}={value}".encode() for name, value in said.model_dump(exclude_unset=True).items()]
    sent = (part for each in pictures for part in (each.name.encode(errors="replace"), each.data))
    what = chain(fields, sent)
    return await parts.repeats.once(request, person, what, HTTPStatus.OK, work)


def _checked(fields: dict[str, str]) -> FormFields:
    """Return a form's fields, or refuse them as parameters of the URL are refused."""
    try:
        return FormFields.model_validate({name: said for name, said in fields.items() if name != "file"})
    except ValidationError as error:
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from error


def answer_of(found: Classified, top: int) -> PictureAnswer:
    """Return what became of a picture, as the API says it."""
    answer = PictureAnswer(name=found.name, sha256=found.sha256, model=found.model, seconds=round(found.seconds, 4))
    if found.reason:
        answer.reason, answer.detail, answer.remedy = found.reason, found.detail, found.remedy
        return answer
    answer.id, answer.cached = found.object_id, found.cached
    answer.label, answer.score = found.top[0]
    answer.top = [LabelScore(label=label, score=score) for label, score in found.top[:top]]
    return answer
