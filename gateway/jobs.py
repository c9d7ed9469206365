"""What people do with jobs, for API and pages alike: see those that they may see, change those that are theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from gateway.doors.person import Person
from gateway.parts import Parts
from gateway.sources import permitted
from sluice.domain import Reason
from sluice.errors import ConfigurationError, RequestError
from sluice.ledger import LedgerCursor, again, jobs, models, objects, owners, seen
from sluice.ledger.again import Repetition
from sluice.ledger.objects import REPLAY_ROWS
from sluice.ledger.quarantine_pages import quarantine_page
from sluice.ledger.seen import SeenJob
from sluice.telemetry import get_logger

log = get_logger()

Beside = Callable[[LedgerCursor, SeenJob], None]

REPLAY_TURNS: Final = 20
"""Transactions of a thousand objects each that one request for a replay makes, at most."""


@dataclass(frozen=True, slots=True)
class JobWish:
    """What somebody wants a job to be."""

    source: str
    model: str = ""
    archives: bool = False
    priority: int = 0
    watch: bool = False
    watch_seconds: int = 60


@dataclass(frozen=True, slots=True)
class ReplayOutcome:
    """How many objects are pending again, and after which id the next request has to go on; None: that was all."""

    replayed: int
    after: int | None


async def see(parts: Parts, person: Person, job_id: int) -> SeenJob:
    """Return a job that the person may see; one of somebody else is as if it weren't there."""
    found = await parts.ledger.run(seen.one, job_id, person.id, is_admin=person.is_admin)
    if found is None:
        raise no_job(job_id)
    return found


async def see_page(parts: Parts, person: Person, before_id: int, limit: int) -> list[SeenJob]:
    """Return the next of the jobs that the person may see, the newest first."""
    return await parts.ledger.run(seen.page, person.id, is_admin=person.is_admin, before_id=before_id, limit=limit)


async def submit(parts: Parts, person: Person, wish: JobWish, beside: Beside | None = None) -> SeenJob:
    """Make a job of what a person wishes, and of what they may; what is done `beside` it is of the same transaction."""
    source = permitted(wish.source, person, parts.settings, archives=wish.archives)
    made = await parts.ledger.run(_submit, person, source, wish, beside)
    log.info("audit", did="job submitted", user=person.id, job=made.owned.job.id, source=source)
    return made


async def submit_again(
    parts: Parts, person: Person, wish: Repetition, model: str = "", priority: int = 0, beside: Beside | None = None
) -> SeenJob:
    """Make a job that has a model answer an earlier job's objects; the person must see that, and may read its source.

    Whoever may change the earlier job may have its objects read again. Others need a source that they may submit.
    """
    earlier = await see(parts, person, wish.of)
    if not earlier.owned.may_change(person.id, is_admin=person.is_admin):
        permitted(earlier.owned.job.source, person, parts.settings, archives=False)
    made = await parts.ledger.run(_submit_again, person, wish, model, priority, beside)
    log.info("audit", did="job submitted", user=person.id, job=made.owned.job.id, again_of=wish.of)
    return made


async def change(parts: Parts, person: Person, job_id: int, to: str) -> SeenJob:
    """Make a job of the person's paused, running (resumed), cancelled, or tried again ('retried')."""
    await _check_may_change(parts, person, job_id)
    if to == "retried":
        await parts.ledger.run(jobs.retry, job_id)
    else:
        await parts.ledger.run(jobs.change_state, job_id, to)
    log.info("audit", did="job changed", user=person.id, job=job_id, to=to)
    return await see(parts, person, job_id)


async def prioritize(parts: Parts, person: Person, job_id: int, priority: int) -> SeenJob:
    """Say how urgent a job of the person's is."""
    await _check_may_change(parts, person, job_id)
    await parts.ledger.run(jobs.set_priority, job_id, priority)
    log.info("audit", did="job changed", user=person.id, job=job_id, priority=priority)
    return await see(parts, person, job_id)


async def replay(
    parts: Parts, person: Person, job_id: int, ids: list[int] | None, reason: str | None, after_id: int = 0
) -> ReplayOutcome:
    """Have quarantined objects tried again: those of the ids, of a reason, or all; each once, some thousand a call."""
    known_reason(reason)
    await _check_may_change(parts, person, job_id)
    replayed = 0
    if ids is not None:
        replayed = await parts.ledger.run(objects.replay, job_id, ids=ids, reason=reason)
        return ReplayOutcome(replayed, None)
    after: int | None = after_id
    for _ in range(REPLAY_TURNS):
        if after is None:
            break
        # By id and each once: what fails again at once must not be replayed for ever.
        page = await parts.ledger.run(quarantine_page, job_id, reason, after_id=after, limit=REPLAY_ROWS)
        if page.rows:
            chosen = [row.id for row in page.rows]
            replayed += await parts.ledger.run(objects.replay, job_id, ids=chosen, reason=reason)
        after = page.next
    log.info("audit", did="quarantine replayed", user=person.id, job=job_id, objects=replayed)
    return ReplayOutcome(replayed, after)


def no_job(job_id: int) -> RequestError:
    """Return what is said of a job that isn't there, or not for this person."""
    return RequestError(HTTPStatus.NOT_FOUND, f"there is no job {job_id} that you may see: /jobs lists those that are")


def known_reason(reason: str | None) -> None:
    """Refuse a reason that there isn't."""
    if reason is not None and Reason.of_code(reason) is None:
        raise RequestError(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"there is no such reason: it is one of {', '.join(sorted(Reason))}"
        )


async def _check_may_change(parts: Parts, person: Person, job_id: int) -> None:
    found = await see(parts, person, job_id)
    if not found.owned.may_change(person.id, is_admin=person.is_admin):
        raise RequestError(
            HTTPStatus.FORBIDDEN, f"job {job_id} is none that you submitted: its owner and admins may change it"
        )


def _submit_again(
    cursor: LedgerCursor, person: Person, wish: Repetition, model: str, priority: int, beside: Beside | None
) -> SeenJob:
    models.resolve(cursor, model)
    job_id = again.submit_for(cursor, person.id, wish, model, priority=priority)
    return _made(cursor, person, job_id, beside)


def _made(cursor: LedgerCursor, person: Person, job_id: int, beside: Beside | None) -> SeenJob:
    made = seen.one(cursor, job_id, person.id, is_admin=person.is_admin)
    assert made is not None, "the row stands in this transaction"  # noqa: S101 - for the type checker
    if beside is not None:
        beside(cursor, made)
    return made


def _submit(cursor: LedgerCursor, person: Person, source: str, wish: JobWish, beside: Beside | None) -> SeenJob:
    try:
        models.resolve(cursor, wish.model)
    except ConfigurationError:
        # Without any live model a job may still be made: it waits until there is one, and says so.
        if wish.model or any(model.live for model in models.list_models(cursor)):
            raise
    job_id = owners.submit_for(
        cursor,
        person.id,
        source,
        wish.model,
        priority=wish.priority,
        watch=wish.watch,
        watch_seconds=wish.watch_seconds,
    )
    return _made(cursor, person, job_id, beside)
