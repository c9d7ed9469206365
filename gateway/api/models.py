"""/api/v1/models: which versions there are, what they expect and say, and which is live."""

from __future__ import annotations

from http import HTTPStatus
from itertools import islice
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from gateway.api.answers import answers
from gateway.api.bounds import PAGE, Label, ListCursor, PageSize
from gateway.cursors import decode, encode, next_page
from gateway.doors.callers import Admin, Viewer
from gateway.doors.person import Person
from gateway.parts import Parts, parts_of
from sluice.domain import Model
from sluice.errors import RequestError
from sluice.ledger import models
from sluice.telemetry import get_logger

router = APIRouter(tags=["models"])
log = get_logger()

CURSOR: Final = "models"
LABELS: Final = "labels"
ModelName = Annotated[str, Path(pattern=f"^{models.NAME.pattern}$", max_length=64, examples=["noop"])]
ModelVersion = Annotated[str, Path(pattern=f"^{models.VERSION.pattern}$", max_length=32, examples=["1.0"])]


class ModelAnswer(BaseModel):
    """A version of a model."""

    name: str = Field(examples=["efficientnet-lite0"])
    version: str = Field(examples=["1.0"])
    live: bool = Field(description="Whether jobs that name no version use this one")
    retired: bool = Field(default=False, description="Whether no new job may ask for it")
    failed: str = Field(default="", description="Why no TorchServe can load it; empty if nothing is known against it")
    digest: str = Field(description="SHA-256 of what the model is")
    preprocessing: dict[str, Any] = Field(description="How pictures become what the model expects")
    label_count: int


class ModelWholeAnswer(ModelAnswer):
    """A version of a model, with all that it can say."""

    labels: list[str]
    card: dict[str, Any] = Field(
        default={},
        description="What else its archive says: architecture, weights, description, licence, metrics, …; "
        "empty for a version that was registered before cards were kept",
    )


class ModelsAnswer(BaseModel):
    """Versions in the order they came."""

    models: list[ModelAnswer]
    next: str | None = None


class LabelsAnswer(BaseModel):
    """What a version can say, in its own order."""

    labels: list[str]
    next: str | None = None


@router.get("/models", responses=answers(400, 401, 403, 422, 503), summary="List models")
async def list_models(
    request: Request, person: Viewer, cursor: ListCursor = "", limit: PageSize = PAGE
) -> ModelsAnswer:
    """List the versions of all models."""
    del person
    after = decode(CURSOR, cursor, (int,))
    found = await parts_of(request).ledger.run(models.page, int(after[0]) if after else 0, limit + 1)
    following = next_page(CURSOR, [each.id for each in found], limit)
    return ModelsAnswer(models=[ModelAnswer(**_fields(each)) for each in found[:limit]], next=following)


@router.get("/models/{name}/{version}", responses=answers(401, 403, 404, 422, 503), summary="A version of a model")
async def get_model(request: Request, person: Viewer, name: ModelName, version: ModelVersion) -> ModelWholeAnswer:
    """Say what a version expects and what it can say."""
    del person
    return _whole(await find(parts_of(request), name, version))


@router.get(
    "/models/{name}/{version}/labels", responses=answers(400, 401, 403, 404, 422, 503), summary="What a version can say"
)
async def list_labels(
    request: Request,
    person: Viewer,
    name: ModelName,
    version: ModelVersion,
    text: Label = "",
    cursor: ListCursor = "",
    limit: PageSize = PAGE,
) -> LabelsAnswer:
    """List a version's labels, or those that have a text in them, whatever its case; `_` counts as a space."""
    del person
    after = decode(LABELS, cursor, (int,))
    labels = (await parts_of(request).models.get(f"{name}@{version}")).model.labels
    wanted = _spoken(text)
    # With one more than asked for it is known whether there are more.
    places = (place for place in range(int(after[0]) if after else 0, len(labels)) if wanted in _spoken(labels[place]))
    found = list(islice(places, limit + 1))
    following = encode(LABELS, [found[limit]]) if len(found) > limit else None
    return LabelsAnswer(labels=[labels[place] for place in found[:limit]], next=following)


@router.post(
    "/models/{name}/{version}/promote",
    responses=answers(401, 403, 404, 409, 422, 503),
    summary="Make a version the live one",
)
async def promote_model(request: Request, person: Admin, name: ModelName, version: ModelVersion) -> ModelWholeAnswer:
    """Make a version the live one of its name: jobs that begin from now on use it, those that run keep theirs."""
    return _whole(await promote(parts_of(request), person, name, version))


async def find(parts: Parts, name: str, version: str) -> Model:
    """Return a version, or say that there is none."""
    found = await parts.ledger.run(models.find, name, version)
    if found is None:
        raise RequestError(HTTPStatus.NOT_FOUND, f"there is no model {name}@{version}: /models lists those that are")
    return found


async def promote(parts: Parts, person: Person, name: str, version: str) -> Model:
    """Make a version live, and leave a line in the log that says who did."""
    before = await find(parts, name, version)
    promoted = await parts.ledger.run(models.promote, name, version)
    log.info("audit", did="model promoted", user=person.id, model=f"{name}@{version}", was_live=before.live)
    return promoted


def _spoken(text: str) -> str:
    return text.casefold().replace("_", " ").strip()


def _fields(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "version": model.version,
        "live": model.live,
        "retired": model.retired,
        "failed": model.failed,
        "digest": model.digest,
        "preprocessing": model.preprocessing,
        "label_count": len(model.labels),
    }


def _whole(model: Model) -> ModelWholeAnswer:
    return ModelWholeAnswer(**_fields(model), labels=model.labels, card=model.card)
