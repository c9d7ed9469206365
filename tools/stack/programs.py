"""Accounts of programs that use a gateway: no password, but a token. Beside the stack, since it needs `gateway`."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from gateway.doors.doors import TOKEN_PREFIX
from gateway.doors.keys import digest
from sluice.ledger import LedgerCursor, tokens, users
from tools.stack.server import StackError


@dataclass(frozen=True, slots=True)
class ProgramAccount:
    """An account by its number, and its token, which lasts."""

    id: int
    token_id: int
    token: str


def add_program(cursor: LedgerCursor, name: str, email: str, role: str) -> ProgramAccount:
    """Insert an account with a token, without asking a gateway; the address must be a new one."""
    person = users.add(cursor, name, email, role, None)
    if person is None:
        raise StackError(f"{email} has an account already")
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    made = tokens.make(cursor, person, name, digest(token), None)
    assert made is not None, "a new account has no tokens yet"  # noqa: S101 - for the type checker
    return ProgramAccount(person, made, token)
