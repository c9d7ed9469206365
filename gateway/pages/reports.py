"""Pages of reports: what people say of predictions, and for admins how much of it was wrong."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from gateway.api.bounds import COMMENT_MAX, OBJECT_MAX, ListCursor, PlainText
from gateway.api.feedback import CURSOR, NEWEST
from gateway.cursors import decode, next_page
from gateway.doors.callers import User
from gateway.pages.render import page
from gateway.parts import parts_of
from gateway.reports import keep_report, whose
from sluice.domain import LABEL_MAX
from sluice.ledger.reports import list_reports, wrong_shares

router = APIRouter(include_in_schema=False)

SHOWN: Final = 50
BACK_MAX: Final = 4000


@router.get("/reports")
async def show_reports(request: Request, person: User, cursor: ListCursor = "", kept: int | None = None) -> Response:
    """Show the person's reports; admins see everybody's, and the share that was wrong by label."""
    parts = parts_of(request)
    after = decode(CURSOR, cursor, (int,))
    before = min(int(after[0]), NEWEST) if after else NEWEST
    found = await parts.ledger.run(list_reports, whose(person), before_id=before, limit=SHOWN + 1)
    shares = await parts.ledger.run(wrong_shares) if person.is_admin else []
    following = next_page(CURSOR, [each.id for each in found], SHOWN)
    return await page(request, "reports.html", reports=found[:SHOWN], shares=shares, next=following, kept=kept)


@router.get("/reports.csv")
async def reports_csv(request: Request, person: User) -> Response:
    """Give the person's reports as a file, admins everybody's."""
    return await parts_of(request).exports.reports(person, whose(person))


@router.post("/reports")
async def post_report(
    request: Request,
    person: User,
    object_id: Annotated[int, Form(ge=1, le=OBJECT_MAX)],
    label: Annotated[PlainText, Form(min_length=1, max_length=LABEL_MAX)],
    comment: Annotated[PlainText, Form(max_length=COMMENT_MAX)] = "",
    back: Annotated[PlainText, Form(max_length=BACK_MAX)] = "",
) -> Response:
    """Keep a report; htmx is given the thanks for the form's place, others go back to where it was made."""
    kept = await keep_report(parts_of(request), person, object_id, label, comment)
    if request.headers.get("hx-request") == "true":
        return await page(request, "thanks.html", report=kept)
    return RedirectResponse(_back(back) or f"/reports?kept={object_id}", HTTPStatus.SEE_OTHER)


def _back(said: str) -> str:
    """Return a path of this site that somebody came from, which then says thanks; empty for anything else."""
    is_path = said.startswith("/") and not said.startswith("//") and "\\" not in said and said.isprintable()
    if not is_path:
        return ""
    return quote(said, safe="/?&=%:@!$'()*+,;~-._") + ("&reported" if "?" in said else "?reported")
