"""The first page: drop pictures, see what is in them."""

from __future__ import annotations

from base64 import b64encode
from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import UploadFile

from gateway.classifier import Classified
from gateway.doors.callers import User
from gateway.doors.person import Person
from gateway.dropped import is_form, read_form, read_pictures
from gateway.pages.pictures import THUMBNAIL
from gateway.pages.render import page
from gateway.parts import Parts, parts_of
from gateway.viewer import KIND
from sluice.errors import ImageError

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
    if is_form(request):
        files = (await read_form(request, parts.settings)).getlist("file")
        if not any(isinstance(each, UploadFile) and each.filename for each in files):
            return RedirectResponse("/?missing", HTTPStatus.SEE_OTHER)
    usable = await parts.models.get("")
    pictures = await read_pictures(request, parts.settings)
    found = await parts.classifier.classify(person.id, usable, pictures)
    photos = [
        await _photo(parts, person, sent.data, each) if not each.reason else ""
        for sent, each in zip(pictures, found, strict=True)
    ]
    return await page(request, "classify.html", found=list(zip(found, photos, strict=True)))


async def _photo(parts: Parts, person: Person, data: bytes, found: Classified) -> str:
    """Return where the page finds a picture; for people who aren't signed in it is in the page itself."""
    if person.is_signed_in:
        return f"/pictures/{found.object_id}/thumbnail"
    try:
        return f"data:{KIND};base64,{b64encode(await parts.viewer.drawn(data, THUMBNAIL)).decode()}"
    except ImageError:
        return ""
