"""The tables `sessions` and `failed_logins`: who is signed in, and who guesses too often. All by digest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sluice.ledger.connection import LedgerCursor
from sluice.ledger.users import COLUMNS, Account, account_of

MOST: Final = 100
"""Sessions of one person; the oldest ends when there are more."""
TRIM_ROWS: Final = 5000
FORGET_SECONDS: Final = 900
"""After so many seconds without a failure, none is remembered."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """Sign-ins of one account or from one address, and how many of them may fail before the next has to wait."""

    subject: bytes
    free: int
    longest: int
    """Seconds to wait, at most."""

    def wait_after(self, failures: int) -> int:
        """Return the seconds to wait after so many failures: twice as long each time."""
        beyond = failures - self.free
        return 0 if beyond < 0 else min(self.longest, 2 ** min(beyond, 20))


def begin(cursor: LedgerCursor, digest: bytes, user_id: int, seconds: int) -> None:
    """Insert a session."""
    cursor.execute(
        "INSERT IGNORE INTO sessions (id, user_id, expires) VALUES (%s, %s, CURRENT_TIMESTAMP(3) + INTERVAL %s SECOND)",
        (digest, user_id, seconds),
    )
    cursor.execute(
        "SELECT id FROM sessions WHERE user_id = %s ORDER BY created DESC, id LIMIT %s OFFSET %s",
        (user_id, TRIM_ROWS, MOST),
    )
    for row in cursor.fetchall():
        cursor.execute("DELETE FROM sessions WHERE id = %s", (row["id"],))


def find(cursor: LedgerCursor, digest: bytes) -> Account | None:
    """Return whose session it is, if it lasts and they may sign in."""
    cursor.execute(
        f"SELECT {COLUMNS} FROM sessions s JOIN users u ON u.id = s.user_id "
        "WHERE s.id = %s AND s.expires > CURRENT_TIMESTAMP(3) AND u.active",
        (digest,),
    )
    row = cursor.fetchone()
    return account_of(row) if row else None


def end(cursor: LedgerCursor, digest: bytes) -> None:
    """Delete a session."""
    cursor.execute("DELETE FROM sessions WHERE id = %s", (digest,))


def end_all(cursor: LedgerCursor, user_id: int) -> None:
    """Delete all sessions of a person."""
    cursor.execute("DELETE FROM sessions WHERE user_id = %s", (user_id,))


def trim(cursor: LedgerCursor) -> int:
    """Delete what has ended, at most some thousand rows a call; return how many."""
    gone = cursor.execute(
        "DELETE FROM sessions WHERE expires <= CURRENT_TIMESTAMP(3) ORDER BY expires LIMIT %s", (TRIM_ROWS,)
    )
    gone += cursor.execute(
        "DELETE FROM failed_logins WHERE until <= CURRENT_TIMESTAMP(3) ORDER BY until LIMIT %s", (TRIM_ROWS,)
    )
    return int(gone)


def attempt(cursor: LedgerCursor, attempts: Sequence[Attempts]) -> int:
    """Return the seconds to wait before a sign-in may be tried; 0: it may be now, and counts as failed until forgiven.

    It counts before the password is looked at, so that guesses sent side by side count too.
    """
    ordered = sorted(attempts, key=lambda each: each.subject)
    failures, wait = {}, 0
    for each in ordered:
        failures[each.subject], age = _failures(cursor, each.subject)
        wait = max(wait, math.ceil(each.wait_after(failures[each.subject]) - age))
    if wait > 0:
        return wait
    for each in ordered:
        cursor.execute(
            "UPDATE failed_logins SET failures = %s, until = CURRENT_TIMESTAMP(3) + INTERVAL %s SECOND "
            "WHERE subject = %s",
            (failures[each.subject] + 1, FORGET_SECONDS, each.subject),
        )
    return 0


def forgive(cursor: LedgerCursor, account: bytes, address: bytes) -> None:
    """Forget an account's failures, and the address's last one: the sign-in that was counted succeeded."""
    cursor.execute("DELETE FROM failed_logins WHERE subject = %s", (account,))
    cursor.execute("UPDATE failed_logins SET failures = failures - 1 WHERE subject = %s AND failures > 0", (address,))


def _failures(cursor: LedgerCursor, subject: bytes) -> tuple[int, float]:
    """Return how many failures are remembered, and how many seconds ago the last one was."""
    # The row is there before it is locked: what isn't there can't be, and guesses sent side by side would count as one.
    cursor.execute("INSERT IGNORE INTO failed_logins (subject) VALUES (%s)", (subject,))
    cursor.execute(
        "SELECT failures, TIMESTAMPDIFF(MICROSECOND, CURRENT_TIMESTAMP(3), until) / 1e6 AS remaining "
        "FROM failed_logins WHERE subject = %s FOR UPDATE",
        (subject,),
    )
    row = cursor.fetchone()
    if row is None or row["remaining"] <= 0:
        return 0, FORGET_SECONDS
    return int(row["failures"]), FORGET_SECONDS - float(row["remaining"])
