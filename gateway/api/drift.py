"""/api/v1/drift: whether pictures, labels and scores are as they were when a version became live."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from gateway.api.answers import answers
from gateway.api.models import ModelName, ModelVersion, find
from gateway.doors.callers import Admin
from gateway.doors.person import Person
from gateway.parts import Parts, parts_of
from sluice.errors import LedgerError, LedgerUnavailable, RequestError
from sluice.ledger import drift_pages, references
from sluice.ledger.drift_pages import WatchedVersion
from sluice.telemetry import get_logger

router = APIRouter(tags=["models"])
log = get_logger()


class FindingAnswer(BaseModel):
    """What was found of one statistic of the last whole window."""

    statistic: str = Field(examples=["brightness"])
    alarm: bool
    psi: float = Field(description="Population stability index without chance's part; of a rate, its rise")
    beyond: float = Field(description="How far beyond chance, in standard deviations")
    before: float | None = Field(description="Mean or rate of the reference; labels have none")
    now: float | None
    moved: str = Field(description="The shares that grew most, where there is an alarm")


class DriftAnswer(BaseModel):
    """A version that something was counted of."""

    model: str = Field(examples=["drugs@1.0"])
    live: bool
    state: str = Field(description="alarm, calm, or collecting: there is no whole window to compare with yet")
    ended: datetime | None = Field(description="When the last whole window ended")
    findings: list[FindingAnswer]


class MovedPictureAnswer(BaseModel):
    """A picture of the last whole window that fell into a share that grew."""

    statistic: str = Field(examples=["brightness"])
    object_id: int
    url: str
    label: str
    score: float


class DriftWholeAnswer(DriftAnswer):
    """A version, with some pictures that moved what has drifted."""

    pictures: list[MovedPictureAnswer]


class DriftsAnswer(BaseModel):
    """Versions: those with an alarm first, then those that are live."""

    versions: list[DriftAnswer]


@router.get("/drift", responses=answers(401, 403, 503), summary="What has drifted")
async def list_drift(request: Request, person: Admin) -> DriftsAnswer:
    """Say of each version whether pictures, labels and scores are as they were when it became live."""
    del person
    found = await parts_of(request).ledger.run(drift_pages.versions)
    return DriftsAnswer(versions=[_answer_of(each) for each in found])


@router.get("/drift/{name}/{version}", responses=answers(401, 403, 404, 422, 503), summary="What moved a version")
async def get_drift(request: Request, person: Admin, name: ModelName, version: ModelVersion) -> DriftWholeAnswer:
    """Say what was found of a version, with some of the pictures that moved it."""
    del person
    parts = parts_of(request)
    found = await watched(parts, name, version)
    pictures = [
        MovedPictureAnswer(
            statistic=each.statistic,
            object_id=picture.result.object_id,
            url=picture.result.url,
            label=picture.result.label,
            score=picture.result.score,
        )
        for each in found.findings
        for picture in await parts.ledger.run(drift_pages.pictures, each)
    ]
    return DriftWholeAnswer(**_answer_of(found).model_dump(), pictures=pictures)


@router.post(
    "/drift/{name}/{version}/reset", responses=answers(401, 403, 404, 409, 422, 503), summary="Freeze a new reference"
)
async def reset_drift(request: Request, person: Admin, name: ModelName, version: ModelVersion) -> DriftAnswer:
    """Make the next whole window the reference: what comes next is as it shall be."""
    parts = parts_of(request)
    await reset(parts, person, name, version)
    return _answer_of(await watched(parts, name, version))


async def watched(parts: Parts, name: str, version: str) -> WatchedVersion:
    """Return what was found of a version; 404 where nothing was counted."""
    model = await find(parts, name, version)
    found = await parts.ledger.run(drift_pages.versions, model.id)
    if not found:
        raise RequestError(HTTPStatus.NOT_FOUND, f"nothing was counted of {name}@{version} yet")
    return found[0]


async def reset(parts: Parts, person: Person, name: str, version: str) -> None:
    """Have a version's reference frozen anew."""
    model = await find(parts, name, version)
    try:
        await parts.ledger.run(references.reset, model.id)
    except LedgerUnavailable:
        raise
    except LedgerError as error:
        raise RequestError(HTTPStatus.CONFLICT, str(error)) from error
    log.info("reference of drift reset", model=f"{name}@{version}", by=person.id)


def _answer_of(version: WatchedVersion) -> DriftAnswer:
    return DriftAnswer(
        model=version.model,
        live=version.live,
        state=version.state,
        ended=version.ended,
        findings=[
            FindingAnswer(
                statistic=each.statistic,
                alarm=each.alarm,
                psi=each.psi,
                beyond=each.beyond,
                before=each.before,
                now=each.now,
                moved=each.moved,
            )
            for each in version.findings
        ],
    )
