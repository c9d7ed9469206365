"""Which results somebody asks for, as a page's form and the API's parameters say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Query
from pydantic import BeforeValidator, Field

from gateway.api.bounds import TEXT_MAX, PlainText
from gateway.cursors import decode, encode
from sluice.domain import LABEL_MAX
from sluice.ledger.browse import Place, ResultsFilter, ResultsOrder, columns_of

CURSOR: Final = "results"


def given(said: object) -> object:
    """Return what a form's field says; an empty one says nothing."""
    return None if said == "" else said


Score = Annotated[Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None, BeforeValidator(given)]


@dataclass(frozen=True, slots=True)
class ResultsSearch:
    """What is asked for, and in which order."""

    wanted: ResultsFilter
    order: ResultsOrder
    asked_order: ResultsOrder | None
    """None: the usual one."""

    def place(self, cursor: str) -> Place | None:
        """Return where a cursor goes on."""
        return decode(f"{CURSOR} {self.order}", cursor, columns_of(self.order, self.wanted))

    def cursor(self, place: Place | None) -> str | None:
        """Return the cursor that goes on at a place."""
        return None if place is None else encode(f"{CURSOR} {self.order}", place)


async def search_of(
    label: Annotated[PlainText, Query(max_length=LABEL_MAX, description="Only this label, letter by letter")] = "",
    score_from: Annotated[Score, Query(description="Only scores from here on")] = None,
    score_to: Annotated[Score, Query(description="Only scores up to here")] = None,
    text: Annotated[PlainText, Query(max_length=TEXT_MAX, description="A part of the name, in any case")] = "",
    order: Annotated[
        ResultsOrder | None,
        BeforeValidator(given),
        Query(description="object: as listed; score: the least sure first; left out: object, or -score with a label"),
    ] = None,
) -> ResultsSearch:
    """Return what a request asks for."""
    usual = ResultsOrder.SCORE_DOWN if label else ResultsOrder.OBJECT
    return ResultsSearch(ResultsFilter(label, score_from, score_to, text), order or usual, order)


Search = Annotated[ResultsSearch, Depends(search_of)]
