"""The tables `sessions` and `failed_logins`: who is signed in, and who fails too often. All keys are digests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sluice.ledger.connection import LedgerCursor
from sluice.ledger.users import COLUMNS, Account, account_of

MOST: Final = 100
"""Maximum sessions of one person; beyond that the oldest ends."""
TRIM_ROWS: Final = 5000
FORGET_SECONDS: Final = 900
"""After so many seconds without a failure, all failures are forgotten."""
CLOCK_SECONDS: Final = 1
"""By so much a server's clock goes back without being set."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """Sign-ins of one account or from one address, and how many may fail before the next one has to wait."""

    subject: bytes
    free: int
    longest: int
    """Maximum seconds to wait."""

    def wait_after(self, failures: int) -> int:
        """Return the seconds to wait after so many failures: doubling each time."""
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
    """Return the account of a session, if it is valid and the account may sign in."""
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
    """Delete expired rows, some thousand per call; return their number."""
    gone = cursor.execute(
        "DELETE FROM sessions WHERE expires <= CURRENT_TIMESTAMP(3) ORDER BY expires LIMIT %s", (TRIM_ROWS,)
    )
    gone += cursor.execute(
        "DELETE FROM failed_logins WHERE until <= CURRENT_TIMESTAMP(3) ORDER BY until LIMIT %s", (TRIM_ROWS,)
    )
    return int(gone)


def attempt(cursor: LedgerCursor, attempts: Sequence[Attempts]) -> int:
    """Return the seconds to wait before a sign-in; 0: it may be tried now, and counts as failed until `forgive`.

    It counts before the password is checked, so that concurrent guesses count too.
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
    """Forget an account's failures and the address's last one, because the counted sign-in succeeded."""
    cursor.execute("DELETE FROM failed_logins WHERE subject = %s", (account,))
    cursor.execute("UPDATE failed_logins SET failures = failures - 1 WHERE subject = %s AND failures > 0", (address,))


def _failures(cursor: LedgerCursor, subject: bytes) -> tuple[int, float]:
    """Return the number of remembered failures, and how many seconds ago the last one was."""
    # The row is inserted before it is locked: a missing row can't be locked, and concurrent guesses would count as one.
    cursor.execute("INSERT IGNORE INTO failed_logins (subject) VALUES (%s)", (subject,))
    cursor.execute(
        "SELECT failures, TIMESTAMPDIFF(MICROSECOND, CURRENT_TIMESTAMP(3), until) / 1e6 AS remaining "
        "FROM failed_logins WHERE subject = %s FOR UPDATE",
        (subject,),
    )
    row = cursor.fetchone()
    # A failure that lies ahead was noted before the server's clock was set back: nobody waits for that.
    if row is None or not 0 < row["remaining"] <= FORGET_SECONDS + CLOCK_SECONDS:
        return 0, FORGET_SECONDS
    return int(row["failures"]), max(0.0, FORGET_SECONDS - float(row["remaining"]))
