"""The table `users`: people, their roles and password hashes. The gateway decides who may change whom.

Passwords never get here: hashes come from outside, and only `password_of` returns one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sluice.ledger.connection import LedgerCursor

Outcome = Literal["done", "missing", "last_admin"]

COLUMNS: Final = (
    "u.id, u.name, u.email, u.role, u.active, u.created, u.password IS NOT NULL AS has_password, "
    "u.subject IS NOT NULL AS has_subject"
)


@dataclass(frozen=True, slots=True)
class Account:
    """A row of `users`, without credentials."""

    id: int
    name: str
    email: str
    role: str
    active: bool
    created: datetime
    has_password: bool
    """Whether it has a password."""
    has_subject: bool
    """Whether it is linked to the company's sign-in."""


def account_of(row: dict[str, Any]) -> Account:
    """Return a row of COLUMNS as an account."""
    return Account(
        int(row["id"]),
        str(row["name"]),
        str(row["email"]),
        str(row["role"]),
        bool(row["active"]),
        row["created"],
        bool(row["has_password"]),
        bool(row["has_subject"]),
    )


def normalized(email: str) -> str:
    """Return an e-mail address in the form that is stored and compared."""
    return email.strip().lower()


def add(
    cursor: LedgerCursor, name: str, email: str, role: str, password: str | None, subject: str | None = None
) -> int | None:
    """Insert a person; return the id, or None if the address or subject is taken. `password` is a hash."""
    cursor.execute(
        "SELECT id FROM users WHERE email = %s OR (subject IS NOT NULL AND subject = %s) FOR UPDATE",
        (normalized(email), subject),
    )
    row = cursor.fetchone()
    if row is not None:
        # A retry of this insert, after a lost answer, finds its own row.
        return int(row["id"]) if int(row["id"]) == cursor.memory.get("added") else None
    cursor.execute(
        "INSERT INTO users (name, email, role, password, subject) VALUES (%s, %s, %s, %s, %s)",
        (name, normalized(email), role, password, subject),
    )
    cursor.memory["added"] = int(cursor.lastrowid)
    return int(cursor.lastrowid)


def add_first_admin(cursor: LedgerCursor, email: str, password: str) -> Literal["made", "there", "taken"]:
    """Insert the first admin if there is none; if several replicas do this at once, one succeeds."""
    made = cursor.execute(
        "INSERT IGNORE INTO users (name, email, role, password) SELECT 'admin', %s, 'admin', %s FROM DUAL "
        "WHERE NOT EXISTS (SELECT 1 FROM users WHERE role = 'admin')",
        (normalized(email), password),
    )
    if made:
        return "made"
    return "there" if has_admin(cursor) else "taken"


def has_admin(cursor: LedgerCursor) -> bool:
    """Return whether there is an admin, active or not."""
    cursor.execute("SELECT 1 FROM users WHERE role = 'admin' LIMIT 1")
    return cursor.fetchone() is not None


def find(cursor: LedgerCursor, user_id: int) -> Account | None:
    """Return a person by id."""
    return _one(cursor, "u.id = %s", user_id)


def find_email(cursor: LedgerCursor, email: str) -> Account | None:
    """Return a person by e-mail address."""
    return _one(cursor, "u.email = %s", normalized(email))


def find_subject(cursor: LedgerCursor, subject: str) -> Account | None:
    """Return a person by their subject in the company's sign-in."""
    return _one(cursor, "u.subject = %s", subject)


def password_of(cursor: LedgerCursor, email: str) -> tuple[Account, str | None] | None:
    """Return a person with their password's hash."""
    cursor.execute(f"SELECT {COLUMNS}, u.password FROM users u WHERE u.email = %s", (normalized(email),))
    row = cursor.fetchone()
    return (account_of(row), row["password"]) if row else None


def list_page(cursor: LedgerCursor, after: int, limit: int, text: str = "") -> list[Account]:
    """Return people with ids above `after`: all, or those with `text` in their address or name."""
    wanted = "%" + text.lower().replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_") + "%"
    cursor.execute(
        f"SELECT {COLUMNS} FROM users u WHERE u.id > %s AND (%s = '' OR u.email LIKE %s OR LOWER(u.name) LIKE %s) "
        "ORDER BY u.id LIMIT %s",
        (after, text, wanted, wanted, limit),
    )
    return [account_of(row) for row in cursor.fetchall()]


def change(
    cursor: LedgerCursor,
    user_id: int,
    *,
    name: str | None = None,
    role: str | None = None,
    active: bool | None = None,
) -> Outcome:
    """Change the given fields; the last active admin stays one. A person who is made inactive loses all sessions."""
    loses = role not in {None, "admin"} or active is False
    if loses and _is_last_admin(cursor, user_id):
        return "last_admin"
    cursor.execute(
        "UPDATE users SET name = COALESCE(%s, name), role = COALESCE(%s, role), active = COALESCE(%s, active) "
        "WHERE id = %s",
        (name, role, active, user_id),
    )
    if active is False:
        cursor.execute("DELETE FROM sessions WHERE user_id = %s", (user_id,))
    return "done" if find(cursor, user_id) else "missing"


def set_password(cursor: LedgerCursor, user_id: int, password: str, keep: bytes | None = None) -> bool:
    """Set a password's hash and end all sessions except `keep`; return whether the person exists."""
    cursor.execute("UPDATE users SET password = %s WHERE id = %s", (password, user_id))
    cursor.execute("DELETE FROM sessions WHERE user_id = %s AND id <> %s", (user_id, keep or b""))
    return find(cursor, user_id) is not None


def enter(cursor: LedgerCursor, subject: str, name: str, email: str, is_verified: bool) -> Account | None:  # noqa: FBT001 - a fact of the address, beside it
    """Return the account of a company's sign-in; the first time it is created, or linked by a verified address.

    None if somebody else has the address.
    """
    account = find_subject(cursor, subject)
    if account is not None:
        return account
    account = find_email(cursor, email)
    if account is None:
        made = add(cursor, name, email, "user", None, subject)
        return find(cursor, made) if made is not None else None
    if account.has_subject or not is_verified:
        return None
    _link(cursor, account.id, subject)
    return find(cursor, account.id)


def _link(cursor: LedgerCursor, user_id: int, subject: str) -> None:
    """Link the company's sign-in to an account, as the only way to sign in.

    Whoever created the account may not have owned the address, so earlier credentials no longer work.
    """
    cursor.execute("UPDATE users SET subject = %s, password = NULL WHERE id = %s", (subject, user_id))
    for table in ("sessions", "tokens"):
        cursor.execute(f"DELETE FROM {table} WHERE user_id = %s", (user_id,))


def delete(cursor: LedgerCursor, user_id: int) -> Outcome:
    """Delete a person with sessions, tokens and stored answers; the last active admin stays.

    Jobs and rows stay. Their owner's id is never reused, so only admins see them from then on.
    """
    if _is_last_admin(cursor, user_id):
        return "last_admin"
    for table in ("sessions", "tokens", "idempotency"):
        cursor.execute(f"DELETE FROM {table} WHERE user_id = %s", (user_id,))
    if cursor.execute("DELETE FROM users WHERE id = %s", (user_id,)):
        cursor.memory["deleted"] = user_id
    return "done" if cursor.memory.get("deleted") == user_id else "missing"


def _is_last_admin(cursor: LedgerCursor, user_id: int) -> bool:
    """Return whether this is the last active admin; locks rows, so that two admins can't remove each other."""
    cursor.execute("SELECT id FROM users WHERE role = 'admin' AND active ORDER BY id FOR UPDATE")
    return [int(row["id"]) for row in cursor.fetchall()] == [user_id]


def _one(cursor: LedgerCursor, where: str, value: object) -> Account | None:
    cursor.execute(f"SELECT {COLUMNS} FROM users u WHERE {where}", (value,))
    row = cursor.fetchone()
    return account_of(row) if row else None
