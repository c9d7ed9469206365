"""Pages of trials, for admins: begin one, see how its candidate does, and end it.

They show pictures and counts, whoever these belong to; so they are for admins alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from gateway.api.bounds import MODEL_MAX, ListCursor, PlainText
from gateway.api.trials import CONDITION_MAX, TrialId, begin, find, stop, trials_page
from gateway.doors.callers import Admin
from gateway.pages.render import page
from gateway.parts import parts_of
from sluice.domain import LABEL_MAX
from sluice.domain.gates import EXAMPLE_PROMOTE, EXAMPLE_STOP, read_gates
from sluice.errors import ConfigurationError
from sluice.ledger import models
from sluice.ledger.trial_progress import TrialProgress, differing, pairs, progress
from sluice.ledger.trials import ACTIVE, TrialWish

router = APIRouter(include_in_schema=False)

SHOWN: Final = 50
PAIRS: Final = 12
PICTURES: Final = 12
SHARE_MAX: Final = 20
"""Characters of a share."""
Model = Annotated[PlainText, Form(max_length=MODEL_MAX)]
Share = Annotated[PlainText, Form(max_length=SHARE_MAX)]
Condition = Annotated[PlainText, Form(max_length=CONDITION_MAX)]
AskedModel = Annotated[PlainText, Query(max_length=MODEL_MAX)]
AskedLabel = Annotated[PlainText | None, Query(max_length=LABEL_MAX)]


@dataclass(frozen=True)
class TrialForm:
    """The form for a trial, as it was filled in."""

    model: str = ""
    share: str = "10"
    mode: str = "shadow"
    promote_when: str = ""
    stop_when: str = EXAMPLE_STOP

    def read(self) -> TrialWish:
        """Return what it asks for, or raise a ConfigurationError that says what can't be."""
        try:
            share = float(self.share.replace(",", ".").removesuffix("%")) / 100
        except ValueError:
            raise ConfigurationError(f"{self.share!r} is no share: write it in percent, as in 10") from None
        gates = read_gates(self.promote_when.strip() or None, self.stop_when.strip() or None)
        return TrialWish(self.model.strip(), share, self.mode == "shadow", gates)


@router.get("/trials")
async def show_trials(request: Request, person: Admin, cursor: ListCursor = "", model: AskedModel = "") -> Response:
    """Show trials, the newest first, and the form for a new one."""
    del person
    return await _list_page(request, cursor, TrialForm(model))


@router.post("/trials")
async def begin_trial(
    request: Request,
    person: Admin,
    model: Model = "",
    share: Share = "10",
    mode: Annotated[Literal["shadow", "canary"], Form()] = "shadow",
    promote_when: Condition = "",
    stop_when: Condition = "",
) -> Response:
    """Begin a trial and show it; what can't be is said beside the form, which stays filled in."""
    form = TrialForm(model, share, mode, promote_when, stop_when)
    try:
        made = await begin(parts_of(request), person, form.read())
    except ConfigurationError as error:
        return await _list_page(request, "", form, str(error))
    return RedirectResponse(f"/trials/{made}", HTTPStatus.SEE_OTHER)


@router.get("/trials/{trial_id}")
async def show_trial(
    request: Request,
    person: Admin,
    trial_id: TrialId,
    live: AskedLabel = None,
    candidate: AskedLabel = None,
) -> Response:
    """Show how a candidate does, and pictures on which the versions differ: of one pair of labels."""
    del person
    ledger = parts_of(request).ledger
    trial = await find(parts_of(request), trial_id)
    told = await ledger.run(progress, [trial_id])
    found = await ledger.run(pairs, trial_id, PAIRS)
    pair = next(
        (each for each in found if (each.live_label, each.label) == (live, candidate)), found[0] if found else None
    )
    return await page(
        request,
        "trial.html",
        trial=trial,
        against=await ledger.run(models.get, trial.live_id) if trial.live_id else None,
        seen=told.get(trial_id, TrialProgress()),
        pairs=found,
        pair=pair,
        rows=await ledger.run(differing, trial_id, pair, PICTURES) if pair else [],
        is_over=trial.state not in ACTIVE,
    )


@router.post("/trials/{trial_id}/stop")
async def stop_trial(request: Request, person: Admin, trial_id: TrialId) -> Response:
    """End a trial, and show it."""
    await stop(parts_of(request), person, trial_id)
    return RedirectResponse(f"/trials/{trial_id}", HTTPStatus.SEE_OTHER)


async def _list_page(request: Request, cursor: str, form: TrialForm, wrong: str = "") -> Response:
    found, told, following = await trials_page(parts_of(request), cursor, SHOWN)
    known = await parts_of(request).ledger.run(models.list_models)
    status = HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK
    return await page(
        request,
        "trials.html",
        status,
        trials=found,
        told=told,
        nothing=TrialProgress(),
        next=following,
        form=form,
        wrong=wrong,
        candidates=[f"{each.name}@{each.version}" for each in known if not (each.live or each.retired or each.failed)],
        example=EXAMPLE_PROMOTE,
    )
