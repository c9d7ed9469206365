"""Pages of trainings, for admins: ask for one, follow it, see what came of it.

They show pictures that a model learned from, whoever they belong to; so they are for admins alone.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import RedirectResponse, Response

from gateway import trainings
from gateway.api.bounds import ID_MAX, ListCursor, PlainText
from gateway.cursors import decode, next_page
from gateway.doors.callers import Admin
from gateway.pages.render import page
from gateway.parts import Parts, parts_of
from sluice.domain import Model
from sluice.domain.source import SOURCE_MAX
from sluice.errors import ConfigurationError, RequestError
from sluice.ledger import models
from sluice.ledger.trainings import Training, Wish, newest
from sluice.objects.kept import KeptFiles

router = APIRouter(include_in_schema=False)

CURSOR: Final = "trainings"
SHOWN: Final = 50
PICTURES: Final = {
    "mistakes": "Worst mistakes",
    "confusion": "Confusion matrix",
    "reliability": "Reliability of scores",
    "learning-curve": "Learning curve",
    "epochs": "Epochs of fine-tuning",
}
TrainingId = Annotated[int, Path(ge=1, le=ID_MAX)]
Short = Annotated[PlainText, Form(max_length=64)]
Source = Annotated[PlainText, Form(max_length=SOURCE_MAX)]
Ticked = Annotated[bool, Form()]


@router.get("/trainings")
async def show_trainings(request: Request, person: Admin, cursor: ListCursor = "") -> Response:
    """Show trainings, the newest first, and the form for a new one."""
    del person
    return await _list_page(request, cursor, Wish(""))


@router.post("/trainings")
async def ask_for_training(
    request: Request,
    person: Admin,
    name: Short = "",
    source: Source = "",
    test: Source = "",
    corrections: Ticked = False,  # noqa: FBT002 - a checkbox
    fine_tune: Ticked = False,  # noqa: FBT002 - the same
) -> Response:
    """Insert a training and show it; what can't be is said beside the form, which stays filled in."""
    wish = Wish(
        name.strip(),
        source.strip(),
        test=test.strip(),
        corrections=corrections,
        fine_tune=fine_tune,
        made_by=person.name,
    )
    try:
        made = await trainings.ask(parts_of(request), person, wish)
    except ConfigurationError as error:
        return await _list_page(request, "", wish, str(error))
    return RedirectResponse(f"/trainings/{made.id}", HTTPStatus.SEE_OTHER)


@router.get("/trainings/{training_id}")
async def show_training(request: Request, person: Admin, training_id: TrainingId) -> Response:
    """Show how far a training is, what was found in its pictures, and what came of it."""
    del person
    return await _training_page(request, training_id, "training.html")


@router.get("/trainings/{training_id}/state")
async def show_training_state(request: Request, person: Admin, training_id: TrainingId) -> Response:
    """Give the part of the page that changes."""
    del person
    return await _training_page(request, training_id, "training_state.html")


@router.post("/trainings/{training_id}/{action}")
async def change_training(
    request: Request, person: Admin, training_id: TrainingId, action: Literal["cancel", "retry"]
) -> Response:
    """Cancel a training, or let it go on where it was."""
    await trainings.change(parts_of(request), person, training_id, action)
    return RedirectResponse(f"/trainings/{training_id}", HTTPStatus.SEE_OTHER)


@router.get("/trainings/{training_id}/pictures/{name}.svg")
async def training_picture(request: Request, person: Admin, training_id: TrainingId, name: str) -> Response:
    """Give a picture of how a training went, from the model store."""
    del person
    parts = parts_of(request)
    model = await _model(parts, await trainings.find(parts, training_id))
    key = _pictures(model).get(name)
    if key is None or not parts.settings.model_store:
        raise RequestError(HTTPStatus.NOT_FOUND, f"training {training_id} has no picture {name!r:.40}")
    data = await asyncio.to_thread(_read, parts, key)
    if data is None:
        raise RequestError(HTTPStatus.NOT_FOUND, f"{name} isn't in the model store any more")
    return Response(data, media_type="image/svg+xml", headers={"Cache-Control": "private, max-age=3600"})


def _read(parts: Parts, key: str) -> bytes | None:
    with closing(KeptFiles(parts.settings.model_store or "", parts.settings)) as store:
        return store.get(key)


async def _list_page(request: Request, cursor: str, wish: Wish, wrong: str = "") -> Response:
    before = decode(CURSOR, cursor, (int,))
    found = await parts_of(request).ledger.run(newest, int(before[0]) if before else 2**32, SHOWN + 1)
    following = next_page(CURSOR, [each.id for each in found], SHOWN)
    status = HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK
    return await page(
        request, "trainings.html", status, trainings=found[:SHOWN], next=following, wish=wish, wrong=wrong
    )


async def _training_page(request: Request, training_id: int, template: str) -> Response:
    parts = parts_of(request)
    training = await trainings.find(parts, training_id)
    model = await _model(parts, training)
    card = model.card if model else {}
    return await page(
        request,
        template,
        training=training,
        model=model,
        metrics=_table(card, "metrics"),
        classes=_classes(card),
        warnings=_texts(card) or training.findings,
        pictures=[(name, PICTURES[name]) for name in PICTURES if name in _pictures(model)],
    )


async def _model(parts: Parts, training: Training) -> Model | None:
    return None if training.model_id is None else await parts.ledger.run(models.get, training.model_id)


def _pictures(model: Model | None) -> dict[str, str]:
    """Return the keys of a model's pictures in the store, those that a training of its own would have."""
    told = model.card.get("pictures") if model else None
    if model is None or not isinstance(told, dict):
        return {}
    return {name: f"{model.name}/{model.version}/{name}.svg" for name in told if name in PICTURES}


def _table(card: dict[str, Any], name: str) -> dict[str, Any]:
    told = card.get(name)
    return told if isinstance(told, dict) else {}


def _classes(card: dict[str, Any]) -> list[dict[str, Any]]:
    told = _table(card, "report").get("classes")
    wanted = {"label", "precision", "recall", "f1", "pictures"}
    return [each for each in told if isinstance(each, dict) and each.keys() >= wanted] if isinstance(told, list) else []


def _texts(card: dict[str, Any]) -> list[str]:
    told = card.get("findings")
    return [str(each) for each in told] if isinstance(told, list) else []
