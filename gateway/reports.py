"""What people say of predictions, for API and pages alike: of what they may see, once a person and object."""

from __future__ import annotations

from http import HTTPStatus

from gateway.doors.person import Person
from gateway.parts import Parts
from sluice.errors import RequestError
from sluice.ledger import LedgerCursor, owners, reports
from sluice.ledger.reports import Report


async def keep_report(parts: Parts, person: Person, object_id: int, label: str, comment: str) -> Report:
    """Keep what a person says of an object's prediction; a second report on it replaces the first."""
    said = label.strip()
    if not said:
        raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, "say what it is: the label is empty")
    made = await parts.ledger.run(_keep, person, object_id, said, comment.strip())
    if made is None:
        raise RequestError(
            HTTPStatus.NOT_FOUND, f"there is no prediction for an object {object_id} that you may see: look at /jobs"
        )
    return made


def whose(person: Person) -> int | None:
    """Return whose reports a person may see; None: everybody's."""
    if person.is_admin:
        return None
    if not person.is_signed_in:
        raise RequestError(HTTPStatus.UNAUTHORIZED, "sign in to see your reports: those of strangers are for admins")
    return person.id


def _keep(cursor: LedgerCursor, person: Person, object_id: int, label: str, comment: str) -> Report | None:
    if owners.job_of_object(cursor, object_id, person.id, is_admin=person.is_admin) is None:
        return None
    return reports.report(cursor, object_id, person.id, person.name, label, comment)
