"""What admins do with trainings, on pages and by the API: ask for one, look at it, have it end or go on."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from gateway.doors.person import Person
from gateway.parts import Parts
from sluice.errors import RequestError
from sluice.ledger import LedgerCursor, trainings
from sluice.ledger.trainings import Training, Wish
from sluice.telemetry import get_logger

log = get_logger()

Kept = Callable[[LedgerCursor, Training], None]
"""What is done beside a new training, in its transaction."""
CHANGES: Final = {"cancel": trainings.cancel, "retry": trainings.retry}


async def ask(parts: Parts, person: Person, wish: Wish, beside: Kept | None = None) -> Training:
    """Insert a training; what can't be is a ConfigurationError."""
    made = await parts.ledger.run(_ask, wish, beside)
    log.info("audit", did="training asked for", user=person.id, training=made.id, model=made.name)
    return made


async def find(parts: Parts, training_id: int) -> Training:
    """Return a training, or say that there is none."""
    found = await parts.ledger.run(trainings.get, training_id)
    if found is None:
        raise RequestError(HTTPStatus.NOT_FOUND, f"there is no training {training_id}: /trainings lists those that are")
    return found


async def change(parts: Parts, person: Person, training_id: int, to: str) -> Training:
    """Cancel a training, or let it go on where it was ('retry')."""
    await find(parts, training_id)
    changed = await parts.ledger.run(CHANGES[to], training_id)
    log.info("audit", did="training changed", user=person.id, training=training_id, to=to)
    return changed


def _ask(cursor: LedgerCursor, wish: Wish, beside: Kept | None) -> Training:
    made = trainings.get(cursor, trainings.submit(cursor, wish))
    assert made is not None, "the row stands in this transaction"  # noqa: S101 - for the type checker
    if beside is not None:
        beside(cursor, made)
    return made
