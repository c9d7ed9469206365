"""Which differences somebody asks for, as a page's links and the API's parameters say it."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import Depends, Query

from gateway import jobs
from gateway.api.bounds import MODEL_MAX, ListCursor, PlainText
from gateway.cursors import decode, encode
from gateway.doors.person import Person
from gateway.parts import Parts
from sluice.domain import LABEL_MAX
from sluice.errors import RequestError
from sluice.ledger import LedgerCursor, comparisons, owners
from sluice.ledger.comparisons import Comparison
from sluice.ledger.differences import DifferenceKind, DifferencePlace, DifferencesPage, differences_page
from sluice.ledger.seen import SeenJob

CURSOR: Final = "differences"

NAMED: Final = "A job's number, or name@version"

Before = Annotated[PlainText, Query(max_length=MODEL_MAX, description=NAMED, examples=["1"])]
After = Annotated[PlainText, Query(max_length=MODEL_MAX, description=NAMED, examples=["2"])]
OneLabel = Annotated[PlainText | None, Query(max_length=LABEL_MAX)]


@dataclass(frozen=True, slots=True)
class ComparedJobs:
    """Two jobs that the person may see, and how they compare, as far as that is known."""

    before: SeenJob
    after: SeenJob
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class DifferencesSearch:
    """What is compared, and which of the differences are shown."""

    before: str
    after: str
    kind: DifferenceKind
    label_before: str | None
    label_after: str | None
    cursor: str

    @property
    def pair(self) -> tuple[str, str] | None:
        """Return the pair of labels that is asked for; '' stands for no prediction."""
        if self.label_before is None and self.label_after is None:
            return None
        return self.label_before or "", self.label_after or ""

    def query(self, **other: str) -> str:
        """Return this search as a query, with other values for some of it."""
        said = {
            "before": self.before,
            "after": self.after,
            "kind": str(self.kind),
            "from": self.label_before or "",
            "to": self.label_after or "",
        } | other
        return urlencode({name: value for name, value in said.items() if value})

    async def found(self, parts: Parts, person: Person, limit: int) -> tuple[ComparedJobs, DifferencesPage]:
        """Return the comparison and a page of it, which is empty until the comparison is complete."""
        place = decode(CURSOR, self.cursor, (int, float, int, int))
        if place is None:
            compared = await _compare(parts, person, self.before, self.after)
        else:
            compared = await _reread(parts, person, int(place[0]))
        if not compared.comparison.complete:
            return compared, DifferencesPage([], None)
        after: DifferencePlace | None = None if place is None else (float(place[1]), int(place[2]), int(place[3]))
        rows = await parts.ledger.run(
            differences_page, compared.comparison, self.kind, self.pair, after=after, limit=limit
        )
        return compared, rows

    def following(self, compared: ComparedJobs, page: DifferencesPage) -> str | None:
        """Return the cursor of the next page."""
        return None if page.next is None else encode(CURSOR, (compared.comparison.id, *page.next))


async def search_of(
    before: Before,
    after: After,
    kind: Annotated[
        DifferenceKind, Query(description="changed: another label; gone, new: only one has a prediction")
    ] = DifferenceKind.CHANGED,
    label_before: Annotated[OneLabel, Query(alias="from", description="Only what the first job called so")] = None,
    label_after: Annotated[OneLabel, Query(alias="to", description="Only what the second job calls so")] = None,
    cursor: ListCursor = "",
) -> DifferencesSearch:
    """Return what a request asks for."""
    label_before, label_after = label_before or None, label_after or None
    wanted = DifferencesSearch(before, after, kind, label_before, label_after, cursor)
    pairs = {
        DifferenceKind.CHANGED: (True, True),
        DifferenceKind.GONE: (True, False),
        DifferenceKind.NEW: (False, True),
    }
    if wanted.pair is not None and pairs[kind] != (label_before is not None, label_after is not None):
        raise RequestError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "labels come with what they tell: `from` and `to` with kind=changed, `from` with gone, `to` with new",
        )
    return wanted


async def _compare(parts: Parts, person: Person, before: str, after: str) -> ComparedJobs:
    """Compare two jobs that the person may see, named by their numbers or by two versions."""
    pair = await parts.ledger.run(_pair, person, before, after)
    first, second = [await jobs.see(parts, person, job_id) for job_id in pair]
    await parts.ledger.run(comparisons.check_pair, *pair)
    return ComparedJobs(first, second, await parts.comparer.compare(*pair))


async def _reread(parts: Parts, person: Person, comparison_id: int) -> ComparedJobs:
    """Return the comparison whose next page is asked for; an error if the jobs were compared anew meanwhile."""
    found = await parts.ledger.run(comparisons.find, comparison_id)
    if found is None:
        raise RequestError(
            HTTPStatus.CONFLICT, "the jobs have changed and were compared anew: begin with the first page again"
        )
    first, second = [await jobs.see(parts, person, job_id) for job_id in (found.before, found.after)]
    return ComparedJobs(first, second, found)


def _pair(cursor: LedgerCursor, person: Person, before: str, after: str) -> tuple[int, int]:
    def is_seen(job_id: int) -> bool:
        return owners.find(cursor, job_id, person.id, is_admin=person.is_admin) is not None

    return comparisons.job_pair(cursor, before, after, is_seen)


DifferencesAsked = Annotated[DifferencesSearch, Depends(search_of)]
