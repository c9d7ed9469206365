"""The first page: drop pictures, see what is in them."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.doors.callers import User
from gateway.dropped import read_pictures
from gateway.pages.render import page
from gateway.parts import parts_of

router = APIRouter(include_in_schema=False)


@router.get("/")
async def show(request: Request, person: User) -> Response:
    """Show the empty form."""
    del person
    return await page(request, "classify.html", found=[])


@router.post("/")
async def classify(request: Request, person: User) -> Response:
    """Show the form's pictures with their labels."""
    parts = parts_of(request)
    usable = await parts.models.get("")
    pictures = await read_pictures(request, parts.settings)
    found = await parts.classifier.classify(person.id, usable, pictures)
    return await page(request, "classify.html", found=found)
