"""One picture: large, with its best classes; and its thumbnail, for every page that shows pictures."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.api.bounds import ObjectId
from gateway.doors.callers import Caller, Viewer
from gateway.doors.person import Person, Role
from gateway.pages.render import page
from gateway.parts import parts_of
from gateway.viewer import KIND
from sluice.errors import ImageError, RequestError
from sluice.ledger import shown
from sluice.ledger.shown import ShownPicture

router = APIRouter(include_in_schema=False)

THUMBNAIL: Final = 320
LARGE: Final = 1280
KEPT_SECONDS: Final = 3600


@router.get("/pictures/{object_id}")
async def show(request: Request, person: Viewer, object_id: ObjectId) -> Response:
    """Show one picture and what the model says of it."""
    found = await _find(request, person, object_id)
    return await page(request, "picture.html", picture=found, may_report=person.role >= Role.USER)


@router.get("/pictures/{object_id}/thumbnail")
async def thumbnail(request: Request, person: Caller, object_id: ObjectId) -> Response:
    """Give a small picture."""
    return await drawn(request, await _find(request, person, object_id), THUMBNAIL)


@router.get("/pictures/{object_id}/large")
async def large(request: Request, person: Caller, object_id: ObjectId) -> Response:
    """Give a picture as large as a page shows it."""
    return await drawn(request, await _find(request, person, object_id), LARGE)


@router.get("/pictures/{object_id}/why")
async def why(request: Request, person: Viewer, object_id: ObjectId) -> Response:
    """Show what the model recognised the picture by."""
    found = await _find(request, person, object_id)
    _check_kept(found)
    return await page(request, "why.html", picture=found)


@router.get("/pictures/{object_id}/why.jpg")
async def heat_map(request: Request, person: Viewer, object_id: ObjectId) -> Response:
    """Give the square that the model saw, with what spoke for the class in warm colours."""
    found = await _find(request, person, object_id)
    _check_kept(found)
    parts = parts_of(request)
    jpeg = await parts.explainer.jpeg(found, await parts.models.get(found.model))
    return Response(jpeg, media_type=KIND, headers={"Cache-Control": f"private, max-age={KEPT_SECONDS}"})


async def _find(request: Request, person: Person, object_id: int) -> ShownPicture:
    found = await parts_of(request).ledger.run(shown.find, object_id, person.id, is_admin=person.is_admin)
    if found is None or person.role < Role.VIEWER:
        raise RequestError(HTTPStatus.NOT_FOUND, f"there is no picture {object_id}, or it isn't yours to see")
    return found


def _check_kept(found: ShownPicture) -> None:
    """Refuse a picture whose bytes are no longer there to be looked at."""
    if found.removed is not None:
        raise RequestError(
            HTTPStatus.GONE,
            f"picture {found.object_id} is no longer kept: what was said of it stays, drop it again to see it",
        )


async def drawn(request: Request, found: ShownPicture, longest: int) -> Response:
    """Answer with a picture that the person may see, its longest side at most `longest`."""
    _check_kept(found)
    # The bytes are those of the ETag, so a picture that a browser has is the one that it would get.
    mark = f'"{found.object_id}-{longest}"'
    headers = {"Cache-Control": f"private, max-age={KEPT_SECONDS}", "ETag": mark}
    if request.headers.get("if-none-match") == mark:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    try:
        jpeg = await parts_of(request).viewer.jpeg(found, longest)
    except ImageError as error:
        raise RequestError(HTTPStatus.NOT_FOUND, f"picture {found.object_id} can't be shown: {error.detail}") from error
    return Response(jpeg, media_type=KIND, headers=headers)
