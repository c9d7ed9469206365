"""Who waits for whom: what a person is told when rows stay locked.

Neither server says afterwards who held a row. The connection that has had locks for longest and does nothing is the
likeliest; to see it takes the right PROCESS, which Sluice does without.
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
    """Who wants to know what a connection meets: a process counts it (sluice.telemetry), a command doesn't."""

    def retried(self, cause: str) -> None:
        """Hear of a transaction that failed for now: by "contention", or because the database is "unavailable"."""

    def waited(self, host: str, who: str, objects: int) -> None:
        """Hear of one wait in vain for rows that `who` on `host` keeps locked; so many objects have to wait for it."""


class NoObserver:
    """Hears of everything and does nothing about it."""

    def retried(self, cause: str) -> None:
        """Take no notice."""

    def waited(self, host: str, who: str, objects: int) -> None:
        """Take no notice."""


def lock_holder(cursor: DictCursor) -> tuple[str, str]:
    """Return the host, and a sentence, for who has had rows of this database locked for longest, silent ones first."""
    try:
        cursor.execute(OLDEST)
    except pymysql.MySQLError:
        # Without the right, or with a server in trouble of its own, of which the next statement tells.
        return "unknown", "somebody; to see who, grant Sluice's user the right PROCESS"
    row = cursor.fetchone()
    if row is None:
        return "unknown", "somebody who has ended meanwhile"
    doing = "idle" if row["command"] == "Sleep" else "at work"
    return str(row["host"]).rpartition(":")[0], (
        f"likely connection {row['id']} of {row['user']}@{row['host']}, {doing} for {row['time']} s, "
        f"which has {row['locked']} rows locked"
    )
