"""Pages of jobs: all of them live, one of them, its results as pictures, its quarantine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from http import HTTPStatus
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from gateway import jobs
from gateway.api.bounds import ID_MAX, MODEL_MAX, OBJECT_MAX, PRIORITY_MAX, JobId, ListCursor, PlainText
from gateway.cursors import decode, encode, next_page
from gateway.doors.callers import User, Viewer
from gateway.doors.person import Person
from gateway.jobs import JobWish
from gateway.pages.render import page, part
from gateway.parts import parts_of
from gateway.search import Score
from sluice.domain import LABEL_MAX, Reason
from sluice.domain.source import SOURCE_MAX
from sluice.errors import ConfigurationError, RequestError
from sluice.ledger import again, models
from sluice.ledger.again import Repetition
from sluice.ledger.quarantine_pages import frequent_reasons, quarantine_page
from sluice.ledger.seen import SeenJob
from sluice.ledger.summary import summarize

router = APIRouter(include_in_schema=False)

CURSOR: Final = "jobs"
QUARANTINE: Final = "quarantine"
SHOWN: Final = 50
EVENT_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
ACTIONS: Final = {"pause": "paused", "resume": "running", "cancel": "cancelled", "retry": "retried"}


@router.get("/jobs")
async def show_jobs(request: Request, person: Viewer, cursor: ListCursor = "") -> Response:
    """Show the jobs that the person may see, and the form for a new one."""
    return await _jobs_page(request, person, cursor)


@router.post("/jobs")
async def submit_job(
    request: Request,
    person: User,
    source: Annotated[PlainText, Form(max_length=SOURCE_MAX)],
    model: Annotated[PlainText, Form(max_length=MODEL_MAX)] = "",
    priority: Annotated[int, Form(ge=-PRIORITY_MAX, le=PRIORITY_MAX)] = 0,
    archives: Annotated[bool, Form()] = False,  # noqa: FBT002 - a checkbox
    watch: Annotated[bool, Form()] = False,  # noqa: FBT002 - the same
) -> Response:
    """Make a job and show it; what can't be is said beside the form, which stays filled in."""
    wish = JobWish(source.strip(), model.strip(), archives, priority, watch)
    try:
        made = await jobs.submit(parts_of(request), person, wish)
    except ConfigurationError as error:
        return await _jobs_page(request, person, "", wish, str(error), HTTPStatus.UNPROCESSABLE_ENTITY)
    except RequestError as error:
        return await _jobs_page(request, person, "", wish, str(error), HTTPStatus(error.status))
    return RedirectResponse(f"/jobs/{made.owned.job.id}", HTTPStatus.SEE_OTHER)


@router.get("/jobs/events")
async def job_events(
    request: Request, person: Viewer, job: Annotated[int | None, Query(ge=1, le=ID_MAX)] = None
) -> Response:
    """Send a row for each job that changes, as long as the page is open; with `job` of that one alone."""
    parts_of(request).feed.check_room()
    return StreamingResponse(_events(request, person, job), media_type="text/event-stream", headers=EVENT_HEADERS)


@router.get("/jobs/{job_id}")
async def show_job(request: Request, person: Viewer, job_id: JobId) -> Response:
    """Show how far a job is, and what its results look like as a whole."""
    parts = parts_of(request)
    seen = await jobs.see(parts, person, job_id)
    summary = await parts.ledger.run(summarize, job_id)
    known = await parts.ledger.run(models.list_models)
    repetition = await parts.ledger.run(again.of_job, job_id)
    return await page(
        request,
        "job.html",
        seen=seen,
        may_change=_may_change(seen, person),
        may_submit=person.role.name in ("USER", "ADMIN"),
        summary=summary,
        models=[model for model in known if not model.retired],
        repetition=repetition,
    )


@router.post("/jobs/{job_id}/again")
async def submit_again(
    request: Request,
    person: User,
    job_id: JobId,
    model: Annotated[PlainText, Form(max_length=MODEL_MAX)] = "",
    below: Annotated[Score, Form()] = None,
    label: Annotated[PlainText, Form(max_length=LABEL_MAX)] = "",
) -> Response:
    """Make a job of this one's objects, and show it."""
    wish = Repetition(job_id, below, label or None)
    made = await jobs.submit_again(parts_of(request), person, wish, model.strip())
    return RedirectResponse(f"/jobs/{made.owned.job.id}", HTTPStatus.SEE_OTHER)


@router.post("/jobs/{job_id}/priority")
async def set_priority(
    request: Request,
    person: User,
    job_id: JobId,
    priority: Annotated[int, Form(ge=-PRIORITY_MAX, le=PRIORITY_MAX)],
) -> Response:
    """Say how urgent a job is, and show it."""
    await jobs.prioritize(parts_of(request), person, job_id, priority)
    return RedirectResponse(f"/jobs/{job_id}", HTTPStatus.SEE_OTHER)


@router.get("/jobs/{job_id}/quarantine")
async def show_quarantine(
    request: Request,
    person: Viewer,
    job_id: JobId,
    reason: PlainText = "",
    cursor: ListCursor = "",
    replayed: int | None = None,
) -> Response:
    """Show what was given up, why, and what to do about it."""
    parts = parts_of(request)
    jobs.known_reason(reason or None)
    seen = await jobs.see(parts, person, job_id)
    after = decode(QUARANTINE, cursor, (int,))
    found = await parts.ledger.run(
        quarantine_page, job_id, reason or None, after_id=int(after[0]) if after else 0, limit=SHOWN
    )
    counts = await parts.ledger.run(frequent_reasons, job_id)
    return await page(
        request,
        "quarantine.html",
        seen=seen,
        may_replay=_may_change(seen, person) and seen.progress.state != "cancelled",
        rows=[(row, Reason.of_code(row.reason)) for row in found.rows],
        counts=[(code, count, Reason.of_code(code)) for code, count in counts.items()],
        reason=reason,
        replayed=replayed,
        next=None if found.next is None else encode(QUARANTINE, [found.next]),
    )


@router.post("/jobs/{job_id}/quarantine/replay")
async def replay_quarantine(
    request: Request,
    person: User,
    job_id: JobId,
    reason: Annotated[PlainText, Form()] = "",
    object_id: Annotated[int | None, Form(ge=1, le=OBJECT_MAX)] = None,
) -> Response:
    """Have one object, those of a reason, or all tried again; then show what is left."""
    ids = None if object_id is None else [object_id]
    done = await jobs.replay(parts_of(request), person, job_id, ids, reason or None)
    return RedirectResponse(f"/jobs/{job_id}/quarantine?{urlencode({'replayed': done.replayed})}", HTTPStatus.SEE_OTHER)


@router.post("/jobs/{job_id}/{action}")
async def change_job(request: Request, person: User, job_id: JobId, action: str) -> Response:
    """Pause, resume, cancel or retry a job, and show it."""
    if action not in ACTIONS:
        raise RequestError(HTTPStatus.NOT_FOUND, "a job can be paused, resumed, cancelled and retried, nothing else")
    await jobs.change(parts_of(request), person, job_id, ACTIONS[action])
    return RedirectResponse(f"/jobs/{job_id}", HTTPStatus.SEE_OTHER)


async def _jobs_page(
    request: Request,
    person: Person,
    cursor: str,
    wish: JobWish | None = None,
    wrong: str = "",
    status: HTTPStatus = HTTPStatus.OK,
) -> Response:
    parts = parts_of(request)
    after = decode(CURSOR, cursor, (int,))
    before = min(int(after[0]), ID_MAX + 1) if after else ID_MAX + 1
    found = await jobs.see_page(parts, person, before, SHOWN + 1)
    known = await parts.ledger.run(models.list_models)
    return await page(
        request,
        "jobs.html",
        status,
        jobs=found[:SHOWN],
        next=next_page(CURSOR, [each.owned.job.id for each in found], SHOWN),
        is_first=after is None,
        models=known,
        wish=wish or JobWish(""),
        wrong=wrong,
    )


async def _events(request: Request, person: Person, job: int | None) -> AsyncIterator[bytes]:
    """Return server-sent events: a row of HTML for each job that is new or has changed."""
    sent: dict[int, SeenJob] = {}
    template = "job_row.html" if job is None else "job_state.html"
    yield b"retry: 3000\n\n"
    async with aclosing(parts_of(request).feed.watch()) as watched:
        async for found in watched:
            if found is None:
                yield b": no news\n\n"
            # The oldest first, so that a page that puts new ones on top ends with the newest there.
            for seen in reversed(found or []):
                number = seen.owned.job.id
                is_wanted = job in (None, number) and seen.owned.is_visible(person.id, is_admin=person.is_admin)
                if is_wanted and sent.get(number) != seen:
                    sent[number] = seen
                    html = await part(request, template, seen=seen)
                    lines = "\n".join(f"data: {line}" for line in html.splitlines())
                    yield f"event: row\n{lines}\n\n".encode()


def _may_change(seen: SeenJob, person: Person) -> bool:
    return person.role.name in ("USER", "ADMIN") and seen.owned.may_change(person.id, is_admin=person.is_admin)
