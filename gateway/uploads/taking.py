"""Takes an archive in for a person, for API and pages alike: what its request says of model and priority counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from gateway.api.bounds import MODEL_MAX, PRIORITY_MAX
from gateway.doors.person import Person
from gateway.parts import Parts
from gateway.uploads.body import ArchiveBody
from gateway.uploads.receiver import Beside
from sluice.errors import RequestError
from sluice.ledger.uploads import ArchiveUpload

Fields = dict[str, str]


async def take_archive(
    parts: Parts,
    person: Person,
    body: ArchiveBody,
    *,
    model: str = "",
    priority: int = 0,
    check: Callable[[Fields], Awaitable[None]] | None = None,
    beside: Beside | None = None,
) -> ArchiveUpload:
    """Stream an archive into the bucket and make it a job; a form's fields go before `model` and `priority`.

    `check` is asked about the fields that stand before the file, before anything is kept.
    """

    async def wanted(fields: Fields) -> tuple[str, int]:
        if check is not None:
            await check(fields)
        spec = fields.get("model", "").strip() or model
        if len(spec) > MODEL_MAX:
            raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, "model: give name or name@version")
        await parts.models.get(spec)  # rather now than after the last byte
        return spec, _priority(fields.get("priority", "").strip() or str(priority))

    return await parts.receiver.receive(person.id, body, wanted, beside)


def _priority(said: str) -> int:
    digits = said.removeprefix("-")
    if digits.isascii() and digits.isdecimal() and len(digits) <= len(str(PRIORITY_MAX)):
        number = int(said)
        if -PRIORITY_MAX <= number <= PRIORITY_MAX:
            return number
    raise RequestError(
        HTTPStatus.UNPROCESSABLE_ENTITY, f"priority: {said[:20]!r} is no whole number up to {PRIORITY_MAX}"
    )
