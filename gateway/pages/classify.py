"""The first page: drop pictures, see what is in them."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import UploadFile

from gateway.doors.callers import User
from gateway.dropped import FORM, read_form, read_pictures
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
    """Show the form's pictures with their labels; without any, the form with a word about it."""
    parts = parts_of(request)
    if request.headers.get("content-type", "").startswith(FORM):
        files = (await read_form(request, parts.settings)).getlist("file")
        if not any(isinstance(each, UploadFile) and each.filename for each in files):
            return RedirectResponse("/?missing", HTTPStatus.SEE_OTHER)
    usable = await parts.models.get("")
    pictures = await read_pictures(request, parts.settings)
    found = await parts.classifier.classify(person.id, usable, pictures)
    return await page(request, "classify.html", found=found)
