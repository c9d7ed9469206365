"""Watches the database through its socket, past all proxies: is there work, do rows appear? Has its own SQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

import pymysql
from pymysql.cursors import DictCursor

from tools.stack import DatabaseServer

LOOK_SECONDS: Final = 0.25
ANSWER_SECONDS: Final = 10.0

UNFINISHED = "SELECT id, watch FROM jobs WHERE state IN ('pending', 'running')"
FINISHED = "SELECT id, finished FROM jobs WHERE state NOT IN ('pending', 'running')"
COUNTS = (
    "SELECT COALESCE(SUM(state = 'pending'), 0) AS pending, "
    "COALESCE(SUM(state IN ('done', 'quarantined')), 0) AS decided "
    "FROM objects WHERE job_id IN ({})"
)


def ask(
    database: DatabaseServer, schema: str, statement: str, arguments: Sequence[object] = ()
) -> list[dict[str, Any]]:
    """Query as root through the socket, on a separate connection."""
    with (
        pymysql.connect(
            unix_socket=str(database.socket),
            user="root",
            password=database.password,
            database=schema or None,
            charset="utf8mb4",
            autocommit=True,
            read_timeout=ANSWER_SECONDS,
            write_timeout=ANSWER_SECONDS,
            connect_timeout=5,
            cursorclass=DictCursor,
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        cursor.execute(statement, arguments)
        return list(cursor.fetchall())


@dataclass
class Sight:
    """The last observations."""

    answered: bool = False
    """The values are newer than the time when somebody set this to False."""
    pending: int = 0
    decided: int = 0
    running: int = 0
    """Jobs that must finish and haven't."""
    finished: dict[int, float] = field(default_factory=dict)
    """Job -> when it was seen to be done; the last time, if it ran again."""
    stall: float = 0.0
    """Seconds without a new row while there was work and no fault to explain it: now, and the longest."""
    longest: float = 0.0
    excused: float = 0.0


class Witness:
    """Watches continuously, in its own thread."""

    def __init__(
        self,
        ask_database: Callable[[str], list[dict[str, Any]]],
        excused: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sight = Sight()
        self._ask = ask_database
        self._excused = excused
        self._clock = clock
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="witness", daemon=True)
        self._before = ("", 0)
        self._ends: dict[int, object] = {}

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._ending.set()
        self._thread.join()

    def finished(self, job: int) -> float:
        """Return when a job was last seen to finish; infinity if it never was."""
        return self.sight.finished.get(job, inf)

    def _watch(self) -> None:
        last = self._clock()
        excused = self._excused()
        while not self._ending.wait(LOOK_SECONDS):
            moved, work = self._look()
            before, excused = excused, self._excused()
            now = self._clock()
            passed, last = now - last, now
            if moved or not work:
                self.sight.stall = 0.0
            elif before or excused:
                self.sight.excused += passed
            else:
                self.sight.stall += passed
                self.sight.longest = max(self.sight.longest, self.sight.stall)

    def _look(self) -> tuple[bool, bool]:
        """Return whether any object was decided since the last look, and whether any is pending."""
        try:
            unfinished = self._ask(UNFINISHED)
            finished = self._ask(FINISHED)
            identities = ", ".join(str(row["id"]) for row in unfinished) or "0"
            (counts,) = self._ask(COUNTS.format(identities))
        except (pymysql.MySQLError, OSError):
            return False, True
        ended = self._note_ends(finished)
        self.sight.running = sum(not row["watch"] for row in unfinished)
        self.sight.pending, self.sight.decided = int(counts["pending"]), int(counts["decided"])
        self.sight.answered = True
        # A listing that only supersedes isn't progress; counts of different jobs can't be compared.
        done, before = (identities, self.sight.decided), self._before
        moved = ended or (done[0] == before[0] and done[1] > before[1])
        self._before = done
        return moved, bool(self.sight.pending or self.sight.running)

    def _note_ends(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Record jobs that have finished since the last look, some of them again; return whether there are any.

        A done job runs again when a change of one of its objects is reported late, maybe between two looks. The
        database's clock is stepped, so its times only tell one end from another.
        """
        ends = {row["id"]: row["finished"] for row in rows if self._ends.get(row["id"]) != row["finished"]}
        self._ends.update(ends)
        self.sight.finished.update(dict.fromkeys(ends, self._clock()))
        return bool(ends)
