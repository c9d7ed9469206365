"""Pages of drift, for admins: which versions have drifted, by how much, and the pictures that moved them.

They are for admins alone, since they count the pictures of everybody, and show some.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from gateway.api.drift import reset, watched
from gateway.api.models import ModelName, ModelVersion
from gateway.doors.callers import Admin
from gateway.pages.render import page
from gateway.parts import parts_of
from gateway.plots import HEIGHT, WIDTH, plot
from sluice.drift.judging import LEAST_PSI
from sluice.ledger import drift_pages

router = APIRouter(include_in_schema=False)

STRIP: Final = 8
"""Pictures that are shown of what moved one statistic: a row of them."""


@router.get("/drift")
async def show_drift(request: Request, person: Admin) -> Response:
    """Show all versions that something was counted of: alarms first."""
    del person
    found = await parts_of(request).ledger.run(drift_pages.versions)
    return await page(request, "drift.html", versions=found)


@router.get("/drift/{name}/{version}")
async def show_version(request: Request, person: Admin, name: ModelName, version: ModelVersion) -> Response:
    """Show what was found of a version: each statistic beside its reference, and through its windows."""
    del person
    parts = parts_of(request)
    found = await watched(parts, name, version)
    windows = await parts.ledger.run(drift_pages.history, found.model_id)
    sides = None
    if found.window_no is not None:
        sides = await parts.ledger.run(drift_pages.sides, found.model_id, found.window_no)
    return await page(
        request,
        "drift_version.html",
        watched=found,
        plots=[plot(each, sides, windows) for each in found.findings],
        moved=[
            (each, await parts.ledger.run(drift_pages.pictures, each, STRIP)) for each in found.findings if each.alarm
        ],
        size=(WIDTH, HEIGHT),
        threshold=LEAST_PSI,
    )


@router.post("/drift/{name}/{version}/reset")
async def reset_reference(request: Request, person: Admin, name: ModelName, version: ModelVersion) -> Response:
    """Freeze a new reference from the next whole window."""
    await reset(parts_of(request), person, name, version)
    return RedirectResponse(f"/drift/{name}/{version}", HTTPStatus.SEE_OTHER)
