"""/api/v1/jobs/{id}/results: what was found, page by page or as a file."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from gateway import jobs
from gateway.api.answers import answers
from gateway.api.bounds import PAGE, JobId, ListCursor, Moment, PageSize
from gateway.api.predictions import LabelScore
from gateway.doors.callers import Viewer
from gateway.exports import MEDIA
from gateway.parts import parts_of
from gateway.search import Search
from sluice.exports import ExportFormat
from sluice.ledger.browse import FoundResult, results_page

router = APIRouter(tags=["results"])

BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
ANSWERED: Final[dict[int | str, dict[str, Any]]] = {
    **answers(400, 401, 403, 404, 422, 501, 503),
    200: {"content": {media.partition(";")[0]: BINARY for media in MEDIA.values()}},
}

ResultsFormat = Annotated[
    Literal["json", "csv", "jsonl", "parquet"],
    Query(alias="format", description="json: a page; the others: all that fits, streamed as a file"),
]


class ResultAnswer(BaseModel):
    """An object and what the model said of it."""

    object_id: int
    name: str = Field(description="What people call it", examples=["cat.jpg"])
    url: str = Field(examples=["s3://photos/2024/cat.jpg"])
    label: str = Field(examples=["Egyptian_cat"])
    score: float = Field(examples=[0.9346])
    model: str = Field(examples=["efficientnet-lite0@1.0"])
    predicted: Moment
    top: list[LabelScore]


class ResultsAnswer(BaseModel):
    """Results; with a text or a score to look for a page may have few or none although another one follows."""

    results: list[ResultAnswer]
    next: str | None = None


@router.get("/jobs/{job_id}/results", response_model=ResultsAnswer, responses=ANSWERED, summary="A job's results")
async def list_results(
    request: Request,
    person: Viewer,
    job_id: JobId,
    search: Search,
    as_format: ResultsFormat = "json",
    cursor: ListCursor = "",
    limit: PageSize = PAGE,
) -> ResultsAnswer | Response:
    """Give a job's results, by label, score and part of the name; go on while there is `next`.

    In CSV, a text that a spreadsheet would take for a formula gets a ' before it.
    """
    parts = parts_of(request)
    await jobs.see(parts, person, job_id)
    if as_format != "json":
        return await parts.exports.results(person, job_id, search, ExportFormat(as_format))
    page = await parts.ledger.run(
        results_page, job_id, search.order, search.wanted, after=search.place(cursor), limit=limit
    )
    return ResultsAnswer(results=[_answer_of(found) for found in page.rows], next=search.cursor(page.next))


def _answer_of(found: FoundResult) -> ResultAnswer:
    result = found.result
    return ResultAnswer(
        object_id=result.object_id,
        name=found.name,
        url=result.url,
        label=result.label,
        score=result.score,
        model=result.model,
        predicted=result.predicted,
        top=[LabelScore(label=label, score=score) for label, score in result.top],
    )
