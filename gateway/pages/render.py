"""Templates to pages: what every page knows is given here."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Final

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

import sluice
from gateway.parts import parts_of
from gateway.uploads.names import uploaded_name
from sluice.cli.screen import duration, finished_of, percent, rate

LISTS: Final = " lists those that are"
PLACES: Final = ("/jobs", "/models", "/trainings", "/trials")
FOLDER: Final = Path(__file__).parents[1] / "templates"


@cache
def environment() -> Environment:
    """Return what makes the pages: templates, and how numbers and times are shown."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["percent"] = lambda score: f"{100 * score:.2f} %"
    made.filters["number"] = lambda number: f"{number:,}"
    made.filters["size"] = _size
    made.filters["moment"] = lambda moment: f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    made.filters |= {"duration": duration, "rate": rate, "finished": finished_of, "done_percent": percent}
    made.filters |= {"words": _words, "linked": _linked, "uploaded": uploaded_name}
    made.globals["version"] = sluice.__version__
    return made


def _size(number: int) -> str:
    return f"{number / 2**20:,.1f} MiB" if number >= 2**20 else f"{number / 2**10:.1f} KiB"


def _words(text: str) -> Markup:
    """Return a description with what stands between backticks as code."""
    plain = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(each) if number % 2 else escape(each) for number, each in enumerate(plain)
    )


def _linked(text: str) -> Markup:
    """Return an error's words with the list that they name as a link."""
    before, found, after = _named_list(text)
    return Markup('{}<a href="{}">{}</a>{}').format(before, found, found, after) if found else escape(text)


def _named_list(text: str) -> tuple[str, str, str]:
    """Return what stands before a list's address, the address, and what follows; only our own words name one so."""
    before, lists, after = text.rpartition(LISTS)
    start, space, place = before.rpartition(" ")
    return (start + space, place, lists + after) if place in PLACES else ("", "", "")


async def page(request: Request, template: str, status: int = HTTPStatus.OK, **context: object) -> HTMLResponse:
    """Return a page, or the part of one that htmx asked for: the template decides."""
    return HTMLResponse(await part(request, template, status, **context), status)


async def part(request: Request, template: str, status: int = HTTPStatus.OK, **context: object) -> str:
    """Return a template's HTML."""
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
    return environment().get_template(template).render(known | context)
