"""A job's results as pictures: filtered, sorted, page after page."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway import jobs
from gateway.api.bounds import JobId, ListCursor
from gateway.doors.callers import Viewer
from gateway.pages.render import page
from gateway.parts import parts_of
from gateway.search import ResultsSearch, Search
from sluice.ledger.browse import results_page
from sluice.ledger.summary import summarize

router = APIRouter(include_in_schema=False)

SHOWN: Final = 48
LABELS_OFFERED: Final = 30


@router.get("/jobs/{job_id}/results")
async def show_results(
    request: Request, person: Viewer, job_id: JobId, search: Search, cursor: ListCursor = ""
) -> Response:
    """Show a page of a job's results, and what there is to filter by."""
    parts = parts_of(request)
    seen = await jobs.see(parts, person, job_id)
    place = search.place(cursor)
    found = await parts.ledger.run(results_page, job_id, search.order, search.wanted, after=place, limit=SHOWN)
    summary = await parts.ledger.run(summarize, job_id)
    following = search.cursor(found.next)
    here = f"{request.url.path}?{urlencode([*_said(search), ('cursor', cursor)])}"
    return await page(
        request,
        "results.html",
        seen=seen,
        rows=found.rows,
        search=search,
        labels=summary.labels[:LABELS_OFFERED],
        files=urlencode(_said(search)),
        next=None if following is None else urlencode([*_said(search), ("cursor", following)]),
        is_first=place is None,
        here=here,
        may_report=person.role.name in ("USER", "ADMIN"),
    )


def _said(search: ResultsSearch) -> list[tuple[str, str]]:
    """Return a search as a query says it."""
    wanted = search.wanted
    said = {
        "label": wanted.label,
        "score_from": "" if wanted.score_from is None else f"{wanted.score_from:g}",
        "score_to": "" if wanted.score_to is None else f"{wanted.score_to:g}",
        "text": wanted.text,
        "order": str(search.asked_order or ""),
    }
    return [(name, value) for name, value in said.items() if value]
