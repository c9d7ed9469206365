"""Templates to pages: what every page knows is given here."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Final

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import sluice
from gateway.parts import parts_of

FOLDER: Final = Path(__file__).parents[1] / "templates"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda score: f"{100 * score:.2f} %"
    environment.globals["version"] = sluice.__version__
    return environment


async def page(request: Request, template: str, status: int = HTTPStatus.OK, **context: object) -> HTMLResponse:
    """Return a page, or the part of one that htmx asked for: the template decides."""
    parts = parts_of(request)
    person = await parts.doors.identify(request)
    known = {
        "request": request,
        "path": request.url.path,
        "status": int(status),
        "person": person,
        "settings": parts.settings,
        "csrf": parts.doors.csrf(request),
    }
    return HTMLResponse(_environment().get_template(template).render(known | context), status)
