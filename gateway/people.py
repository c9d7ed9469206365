"""People and their tokens: what admins do to others, and everybody to themselves; each leaves a line in the log."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

from gateway.doors.doors import TOKEN_PREFIX
from gateway.doors.keys import digest
from gateway.doors.person import Person
from gateway.parts import Parts
from sluice.domain.accounts import check_email, check_name, check_password
from sluice.errors import Busy, ConfigurationError, RequestError
from sluice.ledger import sessions, tokens, users
from sluice.ledger.sessions import Attempts
from sluice.ledger.users import Account
from sluice.telemetry import get_logger

log = get_logger()

SIGNUPS_FREE: Final = 10
SIGNUPS_LONGEST: Final = 900
LAST_ADMIN: Final = "this is the last active admin: make somebody else an admin first"


async def sign_up(parts: Parts, name: str, email: str, password: str, address: str) -> Account:
    """Make the account that somebody asks for, where sign-up is open."""
    if parts.settings.gateway_signup != "open":
        raise RequestError(HTTPStatus.NOT_FOUND, "sign-up is closed here: ask an admin for an account")
    limit = Attempts(digest(f"sign-up {address}"), SIGNUPS_FREE, SIGNUPS_LONGEST)
    wait = await parts.ledger.run(sessions.attempt, (limit,))
    if wait:
        raise Busy(f"too many accounts are made from here: go on in {wait} s", wait, HTTPStatus.TOO_MANY_REQUESTS)
    account = await _add(parts, name, email, password, "user")
    log.info("audit", did="signed up", user=account.id, address=address)
    return account


async def add(parts: Parts, admin: Person, name: str, email: str, password: str, role: str) -> Account:
    """Add a person."""
    account = await _add(parts, name, email, password, role)
    log.info("audit", did="added a person", by=admin.id, user=account.id, role=role)
    return account


async def get(parts: Parts, user_id: int) -> Account:
    """Return a person, for admins and themselves."""
    account = await parts.ledger.run(users.find, user_id)
    if account is None:
        raise _missing()
    return account


async def change(
    parts: Parts,
    by: Person,
    user_id: int,
    *,
    name: str | None = None,
    role: str | None = None,
    active: bool | None = None,
) -> Account:
    """Change what is given of a person."""
    if name is not None:
        with _told():
            name = check_name(name)
    outcome = await parts.ledger.run(users.change, user_id, name=name, role=role, active=active)
    _raise_unless_done(outcome)
    parts.doors.forget()
    log.info("audit", did="changed a person", by=by.id, user=user_id, role=role, active=active)
    return await get(parts, user_id)


async def set_password(parts: Parts, by: Person, account: Account, password: str, keep: bytes | None = None) -> None:
    """Set a password; all sessions of that person end but `keep`."""
    with _told():
        check_password(password, account.email, account.name)
    if not await parts.ledger.run(users.set_password, account.id, await parts.doors.passwords.hash(password), keep):
        raise _missing()
    parts.doors.forget()
    log.info("audit", did="set a password", by=by.id, user=account.id)


async def change_password(
    parts: Parts, person: Person, current: str, password: str, address: str, keep: bytes | None
) -> None:
    """Change one's own password, which takes the current one, if there is one."""
    account = await get(parts, person.id)
    if account.has_password:
        try:
            await parts.doors.sign_in(account.email, current, address)
        except Busy:
            raise
        except RequestError as error:
            raise RequestError(HTTPStatus.FORBIDDEN, "the current password is wrong: nothing was changed") from error
    elif account.has_subject:
        raise RequestError(HTTPStatus.CONFLICT, "you sign in through your company: there is no password here")
    await set_password(parts, person, account, password, keep)


async def delete(parts: Parts, admin: Person, user_id: int) -> None:
    """Delete a person; their jobs and rows stay, for admins to see."""
    _raise_unless_done(await parts.ledger.run(users.delete, user_id))
    parts.doors.forget()
    log.info("audit", did="deleted a person", by=admin.id, user=user_id)


async def end_sessions(parts: Parts, person: Person) -> None:
    """Sign a person out everywhere."""
    await parts.ledger.run(sessions.end_all, person.id)
    parts.doors.forget()
    log.info("audit", did="signed out everywhere", user=person.id)


async def make_token(parts: Parts, person: Person, name: str, days: int | None) -> tuple[int, str]:
    """Return a new token of a person with its id; nobody can show it again."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    with _told():
        name = check_name(name)
    made = await parts.ledger.run(tokens.make, person.id, name, digest(token), days)
    if made is None:
        raise RequestError(HTTPStatus.CONFLICT, f"you have {tokens.MOST} tokens: revoke one first")
    log.info("audit", did="made a token", user=person.id, token=made)
    return made, token


async def revoke_token(parts: Parts, person: Person, token_id: int) -> None:
    """Revoke a token of a person's own."""
    if not await parts.ledger.run(tokens.revoke, person.id, token_id):
        raise RequestError(HTTPStatus.NOT_FOUND, "you have no such token")
    parts.doors.forget()
    log.info("audit", did="revoked a token", user=person.id, token=token_id)


async def _add(parts: Parts, name: str, email: str, password: str, role: str) -> Account:
    with _told():
        name, email = check_name(name), check_email(email)
        check_password(password, email, name)
    made = await parts.ledger.run(users.add, name, email, role, await parts.doors.passwords.hash(password))
    if made is None:
        raise RequestError(
            HTTPStatus.CONFLICT, "somebody has this e-mail address already: sign in, or take another one"
        )
    return await get(parts, made)


@contextmanager
def _told() -> Iterator[None]:
    """Tell whoever sent it what a name, an address or a password must be."""
    try:
        yield
    except ConfigurationError as error:
        raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error


def _raise_unless_done(outcome: users.Outcome) -> None:
    if outcome == "last_admin":
        raise RequestError(HTTPStatus.CONFLICT, LAST_ADMIN)
    if outcome == "missing":
        raise _missing()


def _missing() -> RequestError:
    return RequestError(HTTPStatus.NOT_FOUND, "there is no such person")
