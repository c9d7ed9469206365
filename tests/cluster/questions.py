"""SQL in the cluster, by a process that stays in a pod: a new Python for each statement would cost CPU time."""

from __future__ import annotations

import json
import select
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import Final

ANSWER_SECONDS: Final = 900.0
TRIES: Final = 2


class PodQueries:
    """Sends statements to a process that it starts in a pod; each statement gets its own connection to the database.

    Statements must be idempotent: if the connection to the pod breaks, they are sent once more.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """`command` runs its arguments in the pod, with this process's input."""
        self._command = [*command, "python", "-c", ANSWER]
        self._environment = environment
        self._one_by_one = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the rest

    def ask(self, statement: str) -> list[list[str]]:
        """Return the rows that the database answers with."""
        with self._one_by_one:
            for _ in range(TRIES):
                answer = self._try(statement)
                if answer.endswith(b"\n"):
                    rows: list[list[str]] = json.loads(answer)
                    return rows
                self._end()
        self._said.seek(0)
        raise AssertionError(f"no answer to {statement}\n{self._said.read().decode()[-4000:]}")

    def close(self) -> None:
        """End the process."""
        with self._one_by_one:
            self._end()
            self._said.close()

    def _try(self, statement: str) -> bytes:
        """Return a line with the answer; nothing if the process or the connection to it ended, or answers too late."""
        if self._running is None:
            self._running = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
            )
        assert self._running.stdin is not None
        assert self._running.stdout is not None
        try:
            self._running.stdin.write(json.dumps(statement).encode() + b"\n")
            self._running.stdin.flush()
        except BrokenPipeError:
            return b""
        ready, _, _ = select.select([self._running.stdout], [], [], ANSWER_SECONDS)
        return self._running.stdout.readline() if ready else b""

    def _end(self) -> None:
        if self._running is not None:
            self._running.kill()
            self._running.communicate()
            self._running = None


ANSWER: Final = """\
import json, sys
from sluice.ledger.connection import Database
from sluice.settings import Settings

settings = Settings(database_patience=300)
for line in sys.stdin:
    def ask(cursor):
        cursor.execute(json.loads(line))
        return cursor.fetchall()

    with Database(settings) as database:
        rows = [[str(value) for value in row.values()] for row in database.run(ask)]
    print(json.dumps(rows), flush=True)
"""
