"""The table `idempotency`: the answers to requests with a key, so that repeating a request creates nothing.

A row without a status is a request that a gateway is processing. The gateway renews the row; if it isn't renewed, the
gateway has died, and a client's retry takes it over.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from sluice.errors import LedgerUnavailable
from sluice.ledger.connection import LedgerCursor

STALE_SECONDS: Final = 60
"""A request that wasn't renewed for so long may be taken over."""
KEPT: Final = "INTERVAL 1 DAY"
TRIM_ROWS: Final = 1000
BODY_MAX: Final = 4 * 1024 * 1024
"""Maximum size of a stored answer, in bytes; a longer one is computed again."""
WHERE: Final = "WHERE user_id = %s AND request_key = %s"
MINE: Final = f"{WHERE} AND holder = %s AND status IS NULL"


@dataclass(frozen=True, slots=True)
class RequestTicket:
    """One try of a request that has a key."""

    user_id: int
    request_key: bytes
    """SHA-256 of the client's key."""
    request: bytes
    """SHA-256 of the request."""
    holder: bytes
    """Identifies this try."""

    @property
    def mine(self) -> tuple[object, ...]:
        """Return the values of MINE."""
        return self.user_id, self.request_key, self.holder


class Repeated(Enum):
    """How a request relates to an earlier one with the same key."""

    OTHER = "other"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The stored answer to an earlier request."""

    status: int
    body: bytes


def begin(cursor: LedgerCursor, ticket: RequestTicket) -> KeptAnswer | Repeated | None:
    """Take a key for a request; None: this try has it now, and must finish it or give it back."""
    cursor.execute(
        "INSERT INTO idempotency (user_id, request_key, request, holder) VALUES (%s, %s, %s, %s) "
        "ON DUPLICATE KEY UPDATE user_id = VALUES(user_id)",
        (ticket.user_id, ticket.request_key, ticket.request, ticket.holder),
    )
    cursor.execute(
        f"SELECT request, holder, status, body, created < CURRENT_TIMESTAMP(3) - {KEPT} AS old, "
        f"created < CURRENT_TIMESTAMP(3) - INTERVAL {STALE_SECONDS} SECOND AS stale FROM idempotency {WHERE} "
        "FOR UPDATE",
        (ticket.user_id, ticket.request_key),
    )
    row = cursor.fetchone()
    assert row is not None, "the row stands in this transaction"  # noqa: S101 - for the type checker
    is_running = row["status"] is None
    if is_running and row["holder"] == ticket.holder:
        return None
    if row["old"] or (is_running and row["stale"]):
        cursor.execute(
            "UPDATE idempotency SET request = %s, holder = %s, status = NULL, body = NULL, "
            f"created = CURRENT_TIMESTAMP(3) {WHERE}",
            (ticket.request, ticket.holder, ticket.user_id, ticket.request_key),
        )
        return None
    if row["request"] != ticket.request:
        return Repeated.OTHER
    return Repeated.RUNNING if is_running else KeptAnswer(int(row["status"]), bytes(row["body"] or b""))


def renew(cursor: LedgerCursor, ticket: RequestTicket) -> None:
    """Record that the request is still being processed."""
    cursor.execute(f"UPDATE idempotency SET created = CURRENT_TIMESTAMP(3) {MINE}", ticket.mine)


def finish(cursor: LedgerCursor, ticket: RequestTicket, status: int, body: bytes) -> None:
    """Store the answer, in the transaction that creates the request's rows if these must not be created twice.

    A try that lost its key to a later one must create nothing: it gets LedgerUnavailable, and its transaction rolls
    back.
    """
    if len(body) > BODY_MAX:
        give_back(cursor, ticket)
        return
    changed = cursor.execute(
        f"UPDATE idempotency SET status = %s, body = %s, created = CURRENT_TIMESTAMP(3) {MINE}",
        (status, body, *ticket.mine),
    )
    if changed:
        return
    cursor.execute(f"SELECT status FROM idempotency {WHERE} AND holder = %s", ticket.mine)
    row = cursor.fetchone()
    if row is None or row["status"] is None:
        raise LedgerUnavailable(
            "the request took so long that a repeat of it took over its Idempotency-Key: ask for the repeat's result"
        )


def give_back(cursor: LedgerCursor, ticket: RequestTicket) -> None:
    """Free the key of a failed request, so that the client can send it again."""
    cursor.execute(f"DELETE FROM idempotency {MINE}", ticket.mine)


def trim(cursor: LedgerCursor) -> int:
    """Delete rows older than a day, some hundred per call; return their number."""
    return int(
        cursor.execute(
            f"DELETE FROM idempotency WHERE created < CURRENT_TIMESTAMP(3) - {KEPT} ORDER BY created LIMIT {TRIM_ROWS}"
        )
    )
