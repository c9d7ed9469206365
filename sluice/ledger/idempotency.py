"""The table `idempotency`: what a request with a key was answered, so that its repeat creates nothing.

A row without a status is a request that some gateway is at work on. That gateway renews it; a row that isn't renewed is
of a gateway that died, and whoever repeats the request takes it over.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from sluice.errors import LedgerUnavailable
from sluice.ledger.connection import LedgerCursor

STALE_SECONDS: Final = 60
"""A request that wasn't renewed for so long is nobody's any more."""
KEPT: Final = "INTERVAL 1 DAY"
TRIM_ROWS: Final = 1000
BODY_MAX: Final = 4 * 1024 * 1024
"""Bytes of an answer that is kept; a longer one is computed again."""
WHERE: Final = "WHERE user_id = %s AND request_key = %s"
MINE: Final = f"{WHERE} AND holder = %s AND status IS NULL"


@dataclass(frozen=True, slots=True)
class RequestTicket:
    """One try of a request that has a key."""

    user_id: int
    request_key: bytes
    """SHA-256 of the key that the client chose."""
    request: bytes
    """SHA-256 of what was asked."""
    holder: bytes
    """Which try this is."""

    @property
    def mine(self) -> tuple[object, ...]:
        """Return the values of MINE."""
        return self.user_id, self.request_key, self.holder


class Repeated(Enum):
    """What an earlier request with the same key means for this one."""

    OTHER = "other"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What an earlier request was answered."""

    status: int
    body: bytes


def begin(cursor: LedgerCursor, ticket: RequestTicket) -> KeptAnswer | Repeated | None:
    """Take a key for a request; None: it is this request's own, and is to be finished or given back."""
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
    """Say that the request is still being worked on."""
    cursor.execute(f"UPDATE idempotency SET created = CURRENT_TIMESTAMP(3) {MINE}", ticket.mine)


def finish(cursor: LedgerCursor, ticket: RequestTicket, status: int, body: bytes) -> None:
    """Keep the answer: in the transaction that creates what it tells of, where that must not exist twice.

    Whoever lost its key to a later try must create nothing: that raises LedgerUnavailable, and the transaction is void.
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
            "the request took so long that its Idempotency-Key went to a repeat of it: ask what became of that one"
        )


def give_back(cursor: LedgerCursor, ticket: RequestTicket) -> None:
    """Let the request be sent again: it came to nothing."""
    cursor.execute(f"DELETE FROM idempotency {MINE}", ticket.mine)


def trim(cursor: LedgerCursor) -> int:
    """Delete what is older than a day, at most some hundred rows a call; return how many."""
    return int(
        cursor.execute(
            f"DELETE FROM idempotency WHERE created < CURRENT_TIMESTAMP(3) - {KEPT} ORDER BY created LIMIT {TRIM_ROWS}"
        )
    )
