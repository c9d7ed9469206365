"""Finds out who holds locked rows, for messages to people.

No server says afterwards who held a row. The connection that has held locks for longest and does nothing is the most
likely; seeing it needs the privilege PROCESS, which is optional.
"""

from __future__ import annotations

from typing import Final, Protocol

import pymysql
from pymysql.cursors import DictCursor

OLDEST: Final = """
    SELECT p.id, p.user, p.host, p.command, p.time, t.trx_rows_locked AS locked
    FROM information_schema.innodb_trx t JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id
    WHERE p.id <> CONNECTION_ID() AND p.db = DATABASE() AND t.trx_rows_locked > 0
    ORDER BY p.command = 'Sleep' DESC, t.trx_started LIMIT 1"""


class LedgerObserver(Protocol):
    """Is notified of events on a connection: a process counts them (sluice.telemetry), a command ignores them."""

    def retried(self, cause: str) -> None:
        """Handle a transaction that failed for now: by "contention", or because the database is "unavailable"."""

    def waited(self, host: str, who: str, objects: int) -> None:
        """Handle a lock wait timeout for rows that `who` on `host` keeps locked; `objects` is how many are waiting."""


class NoObserver:
    """Ignores all events."""

    def retried(self, cause: str) -> None:
        """Do nothing."""

    def waited(self, host: str, who: str, objects: int) -> None:
        """Do nothing."""


def lock_holder(cursor: DictCursor) -> tuple[str, str]:
    """Return the host and a description of the connection that held locks here for longest, idle ones first."""
    try:
        cursor.execute(OLDEST)
    except pymysql.MySQLError:
        # The privilege is missing, or the server has trouble of its own, which the next statement reports.
        return "unknown", "an unknown connection; to see which, grant Sluice's user the privilege PROCESS"
    row = cursor.fetchone()
    if row is None:
        return "unknown", "a connection that has ended"
    doing = "idle" if row["command"] == "Sleep" else "at work"
    return str(row["host"]).rpartition(":")[0], (
        f"likely connection {row['id']} of {row['user']}@{row['host']}, {doing} for {row['time']} s, "
        f"which has {row['locked']} rows locked"
    )
