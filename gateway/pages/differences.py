"""Two jobs side by side: how many answers changed, between which labels, and the pictures."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.differences import DifferencesAsked
from gateway.doors.callers import Viewer
from gateway.pages.render import page
from gateway.parts import parts_of
from sluice.ledger.differences import DifferenceKind, summarize_comparison

router = APIRouter(include_in_schema=False)

SHOWN: Final = 24
PAIRS: Final = 12
MEANT: Final = {
    DifferenceKind.CHANGED: "another label",
    DifferenceKind.GONE: "only before",
    DifferenceKind.NEW: "only after",
}


@router.get("/differences")
async def show_differences(request: Request, person: Viewer, search: DifferencesAsked) -> Response:
    """Show how two jobs compare; until that is known the page comes again by itself."""
    parts = parts_of(request)
    compared, found = await search.found(parts, person, SHOWN)
    summary = None
    if compared.comparison.complete:
        summary = await parts.ledger.run(summarize_comparison, compared.comparison)
    following = search.following(compared, found)
    pairs = [each for each in summary.pairs if each.kind is search.kind][:PAIRS] if summary else []
    return await page(
        request,
        "differences.html",
        compared=compared,
        summary=summary,
        rows=found.rows,
        search=search,
        pairs=[(each, search.query(**{"from": each.before, "to": each.after})) for each in pairs],
        kinds=[
            (kind, meant, getattr(summary, str(kind)), search.query(kind=str(kind), **{"from": "", "to": ""}))
            for kind, meant in MEANT.items()
            if summary
        ],
        everything=search.query(**{"from": "", "to": ""}),
        first=search.query(),
        next=None if following is None else search.query(cursor=following),
        is_first=not search.cursor,
    )
