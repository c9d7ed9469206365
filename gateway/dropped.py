"""Pictures out of a request: several parts of a form, or one raw body; refused before they are read where too large."""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus
from typing import Final

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from gateway.classifier import DroppedPicture
from sluice.errors import RequestError
from sluice.settings import Settings

FORM: Final = "multipart/form-data"
MOST_FIELDS: Final = 20
FIELD_BYTES: Final = 64 * 1024
OVERHEAD: Final = 64 * 1024
"""Of a form beside its files."""
NAME_MAX: Final = 255
NAME_SHOWN: Final = 50
UNKNOWN_SHOWN: Final = 3


def is_form(request: Request) -> bool:
    """Return whether a request's body is a form that can have files."""
    return request.headers.get("content-type", "").lower().startswith(FORM)


async def read_pictures(request: Request, settings: Settings, field: str = "file") -> list[DroppedPicture]:
    """Return the pictures of a request: the form's files under `field`, or the body itself."""
    most = settings.gateway_picture_bytes
    if not is_form(request):
        _check_length(request, most)
        name = request.headers.get("x-file-name", "picture")[:NAME_MAX]
        data = await _read_body(request, most)
        if not data and "content-type" not in request.headers:
            raise RequestError(
                HTTPStatus.BAD_REQUEST, "no picture was sent: send one as the body, or several as a form"
            )
        return [DroppedPicture(name, data)]
    form = await read_form(request, settings)
    files = [part for part in form.getlist(field) if isinstance(part, UploadFile) and part.filename]
    if not files:
        raise RequestError(HTTPStatus.BAD_REQUEST, f"no picture was sent: send one or more as form field {field!r}")
    pictures = []
    for part in files:
        if part.size is not None and part.size > most:
            raise too_large(most)
        pictures.append(DroppedPicture((part.filename or "picture")[:NAME_MAX], await part.read()))
    return pictures


async def read_fields(request: Request, settings: Settings, known: Collection[str]) -> dict[str, str]:
    """Return the fields of a request's form that are texts, none for a raw body; refuse a field that isn't `known`."""
    if not is_form(request):
        return {}
    form = await read_form(request, settings)
    unknown = sorted({name for name in form if name not in known})
    if unknown:
        what = ", ".join(repr(name[:NAME_SHOWN]) for name in unknown[:UNKNOWN_SHOWN])
        raise RequestError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"the form has fields that mean nothing here ({what}): send {_all(known)}",
        )
    return {name: said for name, said in form.multi_items() if isinstance(said, str)}


async def read_form(request: Request, settings: Settings) -> FormData:
    """Return the request's form; whoever asks again is given the same."""
    _check_length(request, form_bytes(settings))
    try:
        return await request.form(max_files=settings.gateway_files, max_fields=MOST_FIELDS, max_part_size=FIELD_BYTES)
    except HTTPException as error:
        # What starlette makes of a form that can't be parsed; a body that came too slowly says so itself.
        if error.status_code != HTTPStatus.BAD_REQUEST:
            raise
        raise _unreadable(str(error.detail), settings) from error


def form_bytes(settings: Settings) -> int:
    """Return how large a form with pictures may be."""
    return settings.gateway_files * settings.gateway_picture_bytes + OVERHEAD


def archive_bytes(settings: Settings) -> int:
    """Return how large a form with an archive may be."""
    return settings.gateway_archive_bytes + OVERHEAD


def too_many(settings: Settings) -> RequestError:
    """Return what is said of more pictures than are taken at once."""
    return RequestError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Please upload no more than {settings.gateway_files} files."
    )


def too_large(most: int) -> RequestError:
    """Return what is said of a body that is larger than what is taken."""
    return RequestError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a picture may have {most:,} bytes at most: send a smaller one"
    )


def _all(known: Collection[str]) -> str:
    *some, last = known
    return f"{', '.join(some)} or {last}"


def _unreadable(said: str, settings: Settings) -> RequestError:
    if said.startswith("Too many files"):
        return too_many(settings)
    return RequestError(HTTPStatus.BAD_REQUEST, f"the form can't be read ({said}): send multipart/form-data")


def _check_length(request: Request, most: int) -> None:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise too_large(most)


async def _read_body(request: Request, most: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise too_large(most)
    return bytes(body)
