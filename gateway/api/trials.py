"""/api/v1/trials: candidate versions that answer a share of the objects. For admins, as promoting is.

Their counts are over everybody's objects.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from gateway.api.answers import BODY, answers
from gateway.api.bounds import ID_MAX, MODEL_MAX, PAGE, ListCursor, Moment, PageSize, PlainText, StrictRequest
from gateway.cursors import decode, next_page
from gateway.doors.callers import Admin
from gateway.doors.person import Person
from gateway.parts import Parts, parts_of
from sluice.domain.gates import EXAMPLE_PROMOTE, EXAMPLE_STOP, read_gates
from sluice.errors import RequestError
from sluice.ledger import trials
from sluice.ledger.trial_progress import TrialPair, TrialProgress, pairs, progress
from sluice.ledger.trials import Trial, TrialWish
from sluice.telemetry import get_logger

router = APIRouter(tags=["trials"])
log = get_logger()

CURSOR: Final = "trials"
CONDITION_MAX: Final = 100
TrialId = Annotated[int, Path(ge=1, le=ID_MAX, description="The trial's number", examples=[1])]
Condition = Annotated[PlainText, Field(max_length=CONDITION_MAX)]


class TrialRequest(StrictRequest):
    """Which version is tried, on how much, and when that ends by itself."""

    model: Annotated[PlainText, Field(max_length=MODEL_MAX, examples=["drugs@2.0"])]
    share: float = Field(default=0.1, description="Of the objects, by content: more than 0, and 1 at most")
    shadow: bool = Field(default=False, description="Beside the live version; otherwise instead of it")
    promote_when: Condition | None = Field(default=None, examples=[EXAMPLE_PROMOTE])
    stop_when: Condition | None = Field(default=None, examples=[EXAMPLE_STOP])
    confidence: float = 0.95


class TrialAnswer(BaseModel):
    """A trial, and how its candidate does."""

    id: int
    model: str = Field(examples=["drugs@2.0"])
    mode: Literal["shadow", "canary"]
    share: float
    state: Literal["pending", "running", "promoted", "stopped"]
    message: str = Field(description="What it waits for, or why it ended")
    created: Moment
    answered: int
    failed: int
    agreement: float | None = Field(description="Share of the objects on which both versions say the same (shadow)")
    score_shift: float | None = Field(description="By how much the candidate's scores are higher, on average (shadow)")
    milliseconds: float | None = Field(description="That the candidate took for a picture")
    live_milliseconds: float | None
    reports: int
    accuracy: float | None = Field(description="Of the candidate, as reports say")
    live_accuracy: float | None


class TrialPairAnswer(BaseModel):
    """How often the live version said the one and the candidate the other label; '' where it failed."""

    live_label: str
    label: str
    objects: int
    live_score: float
    score: float


class TrialWholeAnswer(TrialAnswer):
    """A trial with the most frequent pairs of different labels."""

    pairs: list[TrialPairAnswer]


class TrialsAnswer(BaseModel):
    """Trials, the newest first."""

    trials: list[TrialAnswer]
    next: str | None = None


@router.get("/trials", responses=answers(400, 401, 403, 422, 503), summary="List trials")
async def list_trials(request: Request, person: Admin, cursor: ListCursor = "", limit: PageSize = PAGE) -> TrialsAnswer:
    """List trials, the newest first."""
    del person
    found, told, following = await trials_page(parts_of(request), cursor, limit)
    return TrialsAnswer(trials=[TrialAnswer(**_fields(each, told.get(each.id))) for each in found], next=following)


@router.get("/trials/{trial_id}", responses=answers(401, 403, 404, 422, 503), summary="A trial")
async def get_trial(request: Request, person: Admin, trial_id: TrialId) -> TrialWholeAnswer:
    """Say how a candidate does."""
    del person
    return await _whole(parts_of(request), trial_id)


@router.post(
    "/trials", status_code=201, responses=answers(*BODY, 401, 403, 422, 503), summary="Try a version on a share"
)
async def begin_trial(request: Request, person: Admin, wish: TrialRequest) -> TrialWholeAnswer:
    """Begin a trial; it waits until its candidate is served."""
    gates = read_gates(wish.promote_when, wish.stop_when, wish.confidence)
    made = await begin(parts_of(request), person, TrialWish(wish.model, wish.share, wish.shadow, gates))
    return await _whole(parts_of(request), made)


@router.post("/trials/{trial_id}/stop", responses=answers(401, 403, 404, 409, 422, 503), summary="End a trial")
async def stop_trial(request: Request, person: Admin, trial_id: TrialId) -> TrialWholeAnswer:
    """End a trial: no object meets its candidate any more."""
    await stop(parts_of(request), person, trial_id)
    return await _whole(parts_of(request), trial_id)


async def trials_page(
    parts: Parts, cursor: str, limit: int
) -> tuple[list[Trial], dict[int, TrialProgress], str | None]:
    """Return a page of trials, how each does, and where the next page begins."""
    before = decode(CURSOR, cursor, (int,))
    found = await parts.ledger.run(trials.newest, int(before[0]) if before else 2**32, limit + 1)
    following = next_page(CURSOR, [each.id for each in found], limit)
    shown = found[:limit]
    return shown, await parts.ledger.run(progress, [each.id for each in shown]), following


async def find(parts: Parts, trial_id: int) -> Trial:
    """Return a trial, or say that there is none."""
    found = await parts.ledger.run(trials.get, trial_id)
    if found is None:
        raise RequestError(HTTPStatus.NOT_FOUND, f"there is no trial {trial_id}: /trials lists those that are")
    return found


async def begin(parts: Parts, person: Person, wish: TrialWish) -> int:
    """Insert a trial, and leave a line in the log that says who did."""
    made = await parts.ledger.run(
        trials.submit, TrialWish(wish.model, wish.share, wish.shadow, wish.gates, person.name)
    )
    log.info("audit", did="trial begun", user=person.id, trial=made, model=wish.model)
    return made


async def stop(parts: Parts, person: Person, trial_id: int) -> None:
    """End a trial, and leave a line in the log that says who did."""
    await find(parts, trial_id)
    await parts.ledger.run(trials.stop, trial_id, f"stopped by {person.name}")
    log.info("audit", did="trial stopped", user=person.id, trial=trial_id)


async def _whole(parts: Parts, trial_id: int) -> TrialWholeAnswer:
    found = await find(parts, trial_id)
    told = await parts.ledger.run(progress, [trial_id])
    differing = await parts.ledger.run(pairs, trial_id)
    return TrialWholeAnswer(**_fields(found, told.get(trial_id)), pairs=[_pair(each) for each in differing])


def _pair(pair: TrialPair) -> TrialPairAnswer:
    return TrialPairAnswer(
        live_label=pair.live_label,
        label=pair.label,
        objects=pair.objects,
        live_score=pair.live_score,
        score=pair.score,
    )


def _fields(trial: Trial, told: TrialProgress | None) -> dict[str, Any]:
    seen = told or TrialProgress()
    return {
        "id": trial.id,
        "model": trial.wish.model,
        "mode": trial.mode,
        "share": trial.wish.share,
        "state": trial.state,
        "message": trial.message,
        "created": trial.created,
        **{name: getattr(seen, name) for name in TrialProgress.__slots__},
    }
