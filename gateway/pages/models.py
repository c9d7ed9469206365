"""Pages of models: which versions there are, what they say, and which is live."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from gateway.api.bounds import ListCursor
from gateway.api.models import CURSOR, ModelName, ModelVersion, find, promote
from gateway.cursors import decode, next_page
from gateway.doors.callers import Admin, Viewer
from gateway.pages.render import page
from gateway.parts import parts_of
from sluice.ledger import models, serving

router = APIRouter(include_in_schema=False)

SHOWN: Final = 50
FACTS: Final = {
    "architecture": "Network",
    "licence": "Licence",
    "made_by": "Made by",
    "made": "Made",
    "data_digest": "Trained on data of digest",
}
"""What a card says besides, and how it is called for people."""


@router.get("/models")
async def show_models(request: Request, person: Viewer, cursor: ListCursor = "") -> Response:
    """Show the versions of all models."""
    del person
    after = decode(CURSOR, cursor, (int,))
    ledger = parts_of(request).ledger
    found = await ledger.run(models.page, int(after[0]) if after else 0, SHOWN + 1)
    following = next_page(CURSOR, [each.id for each in found], SHOWN)
    told = await ledger.run(serving.states, [model.id for model in found])
    return await page(request, "models.html", models=found[:SHOWN], told=told, next=following)


@router.get("/models/{name}/{version}")
async def show_model(request: Request, person: Viewer, name: ModelName, version: ModelVersion) -> Response:
    """Show what a version expects and what it can say."""
    del person
    model = await find(parts_of(request), name, version)
    known = await parts_of(request).ledger.run(models.list_models)
    states = await parts_of(request).ledger.run(serving.states, [model.id])
    return await page(
        request,
        "model.html",
        model=model,
        live=next((each for each in known if each.name == name and each.live), None),
        told=states.get(model.id),
        preprocessing=json.dumps(model.preprocessing, indent=2),
        **told_of(model.card),
    )


@router.post("/models/{name}/{version}/promote")
async def promote_model(request: Request, person: Admin, name: ModelName, version: ModelVersion) -> Response:
    """Make a version live, and show it."""
    await promote(parts_of(request), person, name, version)
    return RedirectResponse(f"/models/{name}/{version}", HTTPStatus.SEE_OTHER)


def told_of(card: dict[str, Any]) -> dict[str, Any]:
    """Return what a page says of a card, which may lack any of it; cards come from archives that others made."""
    metrics, description = card.get("metrics"), card.get("description")
    return {
        "description": description if isinstance(description, str) else "",
        "facts": [(shown, card[name]) for name, shown in FACTS.items() if isinstance(card.get(name), str)],
        "metrics": sorted(metrics.items()) if isinstance(metrics, dict) else [],
    }
