"""/api/v1/differences: what two jobs, or two versions of a model, say of the same objects."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from gateway.api.answers import answers
from gateway.api.bounds import PAGE, PageSize
from gateway.differences import DifferencesAsked
from gateway.doors.callers import Viewer
from gateway.parts import parts_of
from sluice.ledger.differences import ComparisonSummary, Difference, ShownPrediction, summarize_comparison

router = APIRouter(tags=["results"])


class PairAnswer(BaseModel):
    """How many objects went from one label to another."""

    kind: str = Field(description="changed, gone or new", examples=["changed"])
    before: str = Field(description="Empty: no prediction", examples=["cat"])
    after: str = Field(description="Empty: no prediction", examples=["dog"])
    objects: int


class SideAnswer(BaseModel):
    """One of the two predictions."""

    object_id: int
    label: str
    score: float
    model: str = Field(examples=["drugs@1.0"])


class DifferenceAnswer(BaseModel):
    """An object on which the two jobs differ."""

    kind: str
    name: str
    url: str
    size: float = Field(description="0 to 1: the mean of the two scores; 1: both are sure, of different labels")
    before: SideAnswer | None
    after: SideAnswer | None


class DifferencesAnswer(BaseModel):
    """How two jobs compare; until it is `complete`, ask again: there are no counts and no rows yet."""

    before: int = Field(description="The first job's number")
    after: int = Field(description="The second job's number")
    complete: bool
    share: float = Field(description="How much is compared, from 0 to 1")
    same: int = 0
    changed: int = 0
    gone: int = 0
    new: int = 0
    pairs: list[PairAnswer] = Field(default=[], description="The most frequent of each kind")
    differences: list[DifferenceAnswer] = []
    next: str | None = None


@router.get(
    "/differences", responses=answers(400, 401, 403, 404, 409, 422, 503), summary="Compare two jobs or two versions"
)
async def list_differences(
    request: Request, person: Viewer, search: DifferencesAsked, limit: PageSize = PAGE
) -> DifferencesAnswer:
    """Compare the predictions of two jobs by key, the largest changes first; go on while there is `next`.

    Two versions mean the newest two jobs of one source that asked them.
    """
    parts = parts_of(request)
    compared, page = await search.found(parts, person, limit)
    comparison = compared.comparison
    answer = DifferencesAnswer(
        before=comparison.before, after=comparison.after, complete=comparison.complete, share=comparison.share
    )
    if not comparison.complete:
        return answer
    return answer.model_copy(
        update={
            **_counts(await parts.ledger.run(summarize_comparison, comparison)),
            "differences": [_answer_of(row) for row in page.rows],
            "next": search.following(compared, page),
        }
    )


def _counts(summary: ComparisonSummary) -> dict[str, object]:
    pairs = [
        PairAnswer(kind=str(each.kind), before=each.before, after=each.after, objects=each.objects)
        for each in summary.pairs
    ]
    return {
        "same": summary.same,
        "changed": summary.changed,
        "gone": summary.gone,
        "new": summary.new,
        "pairs": pairs,
    }


def _answer_of(row: Difference) -> DifferenceAnswer:
    return DifferenceAnswer(
        kind=str(row.kind),
        name=row.name,
        url=row.url,
        size=row.size,
        before=_side(row.before),
        after=_side(row.after),
    )


def _side(found: ShownPrediction | None) -> SideAnswer | None:
    if found is None:
        return None
    return SideAnswer(object_id=found.object_id, label=found.label, score=found.score, model=found.model)
