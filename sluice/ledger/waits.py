"""Who waits for whom: what a person is told when rows stay locked.

Neither server says afterwards who held a row. The connection that has had locks for longest and does nothing is the
likeliest; to see it takes the right PROCESS, which Sluice does without.
"""

from __future__ import annotations

import time
from typing import Final

import pymysql
from pymysql.cursors import DictCursor

from sluice.telemetry import metrics

QUIET_SECONDS: Final = 5.0
"""At least so long between two lines in the log."""
HOSTS_NAMED: Final = 20
"""So many hosts get a time series of their own; pods come and go."""
OLDEST: Final = """
    SELECT p.id, p.user, p.host, p.command, p.time, t.trx_rows_locked AS locked
    FROM information_schema.innodb_trx t JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id
    WHERE p.id <> CONNECTION_ID() AND p.db = DATABASE() AND t.trx_rows_locked > 0
    ORDER BY p.command = 'Sleep' DESC, t.trx_started LIMIT 1"""


class LockWaits:
    """Counts waits in vain, and says in the log, now and then, who was waited for."""

    def __init__(self) -> None:
        self._said_at = float("-inf")
        self._hosts: set[str] = set()

    def tell(self, cursor: DictCursor, objects: int = 0) -> None:
        """Tell of one wait; so many objects have to wait for it."""
        host, who = _holder(cursor)
        if len(self._hosts) < HOSTS_NAMED:
            self._hosts.add(host)
        metrics.LEDGER_LOCK_WAITS.labels(holder=host if host in self._hosts else "others").inc()
        now = time.monotonic()
        if now - self._said_at >= QUIET_SECONDS:
            self._said_at = now
            _log(who, objects)


def _log(who: str, objects: int) -> None:
    import structlog  # noqa: PLC0415 - the command line starts without it, and has no log

    if structlog.is_configured():
        waiting = {"objects": objects} if objects else {}
        structlog.get_logger().warning("rows stay locked by another transaction", by=who, **waiting)


def _holder(cursor: DictCursor) -> tuple[str, str]:
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
