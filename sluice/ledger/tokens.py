"""The table `tokens`: personal tokens for programs, stored as digests; the token itself is shown only once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sluice.ledger.connection import LedgerCursor
from sluice.ledger.users import COLUMNS, Account, account_of

MOST: Final = 50
"""Maximum tokens of one person."""
LAST: Final = "2038-01-19 03:14:07"
"""The last moment that the column has room for."""


@dataclass(frozen=True, slots=True)
class PersonalToken:
    """A row of `tokens`, for its owner."""

    id: int
    name: str
    created: datetime
    expires: datetime | None
    used: datetime | None


def make(cursor: LedgerCursor, user_id: int, name: str, digest: bytes, days: int | None) -> int | None:
    """Insert a token that is valid for `days` (None: until it is revoked); return None if there are too many."""
    cursor.execute("SELECT id, digest FROM tokens WHERE user_id = %s ORDER BY id FOR UPDATE", (user_id,))
    there = {bytes(row["digest"]): int(row["id"]) for row in cursor.fetchall()}
    if digest in there:
        return there[digest]
    if len(there) >= MOST:
        return None
    cursor.execute(
        "INSERT INTO tokens (user_id, name, digest, expires) "
        "VALUES (%s, %s, %s, LEAST(CURRENT_TIMESTAMP(3) + INTERVAL %s DAY, CAST(%s AS DATETIME)))",
        (user_id, name, digest, days, LAST),
    )
    return int(cursor.lastrowid)


def list_tokens(cursor: LedgerCursor, user_id: int, after: int = 0, limit: int = MOST) -> list[PersonalToken]:
    """Return a person's tokens with ids above `after`."""
    cursor.execute(
        "SELECT id, name, created, expires, used FROM tokens WHERE user_id = %s AND id > %s ORDER BY id LIMIT %s",
        (user_id, after, limit),
    )
    return [PersonalToken(**row) for row in cursor.fetchall()]


def revoke(cursor: LedgerCursor, user_id: int, token_id: int) -> bool:
    """Delete a person's token; return whether it existed."""
    if cursor.execute("DELETE FROM tokens WHERE id = %s AND user_id = %s", (token_id, user_id)):
        cursor.memory["revoked"] = token_id
    return cursor.memory.get("revoked") == token_id


def find(cursor: LedgerCursor, digest: bytes) -> Account | None:
    """Return the account of a token, if it is valid and the account may sign in; store the use, to the minute."""
    cursor.execute(
        f"SELECT {COLUMNS}, t.id AS token_id, "
        "t.used IS NULL OR t.used < CURRENT_TIMESTAMP(3) - INTERVAL 1 MINUTE AS unnoted "
        "FROM tokens t JOIN users u ON u.id = t.user_id "
        "WHERE t.digest = %s AND (t.expires IS NULL OR t.expires > CURRENT_TIMESTAMP(3)) AND u.active",
        (digest,),
    )
    row = cursor.fetchone()
    if row is None:
        return None
    if row["unnoted"]:
        cursor.execute("UPDATE tokens SET used = CURRENT_TIMESTAMP(3) WHERE id = %s", (row["token_id"],))
    return account_of(row)
