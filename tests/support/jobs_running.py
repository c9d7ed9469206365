"""Jobs on a whole stack, as people use them: submitted, waited for, read with SQL and the `sluice` command."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from typer.testing import CliRunner, Result

from sluice.cli.app import app
from sluice.ledger import Database, JobProgress, jobs, progress
from tools.stack import Stack, card_of

PATIENCE_SECONDS: Final = 120.0


def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.1)


def full_name(stack: Stack, model: str) -> str:
    """Return a served model as name@version."""
    cards = [card_of(archive) for archive in stack.servers.torchserve.archives]
    return next(f"{card['name']}@{card['version']}" for card in cards if card["name"] == model)


class Operator:
    """A person's view of a stack's ledger."""

    def __init__(self, stack: Stack, database: Database) -> None:
        self._stack = stack
        self._database = database

    def sql(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """Run plain SQL, as a person would with a client."""

        def ask(cursor: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - whatever the ledger's cursor is
            cursor.execute(statement, values)
            return list(cursor.fetchall())

        return self._database.run(ask)

    def submit(self, source: str, model: str = "noop", **options: Any) -> int:  # noqa: ANN401 - the job's columns
        name = full_name(self._stack, model)
        return self._database.run(jobs.submit, source, name, **options)

    def progress(self, job: int) -> JobProgress:
        found = self._database.run(progress.progress, job)
        assert found is not None
        return found

    def ended(self, job: int) -> JobProgress:
        """Wait for a job's end."""
        until(lambda: self.progress(job).state in {"done", "failed"}, f"the end of job {job}: {self.progress(job)}")
        return self.progress(job)

    def objects(self, job: int) -> dict[bytes, dict[str, Any]]:
        """Return the job's newest row of each key, with its prediction's columns if it has one."""
        rows = self.sql(
            "SELECT o.*, p.label, p.score, p.sha256 FROM objects o LEFT JOIN predictions p ON p.object_id = o.id "
            "WHERE o.job_id = %s AND o.state <> 'superseded' AND o.repeat_no = 0",
            job,
        )
        found = {row["object_key"]: row for row in rows}
        assert len(found) == len(rows), "a key has two rows that count"
        return found

    def command(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `sluice`."""
        return subprocess.run(
            [str(Path(sys.executable).parent / "sluice"), *arguments],
            env=self._variables(environment),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def run(self, *arguments: str, **environment: str) -> Result:
        """Run `sluice` in this process, which has imported already what takes a new one most of its time."""
        return CliRunner().invoke(app, arguments, env=self._variables(environment))

    def _variables(self, more: Mapping[str, str]) -> dict[str, str]:
        return {**self._stack.environment, "COLUMNS": "200", **more}

    def check(self, *arguments: str) -> None:
        """Check that `sluice check` finds nothing wrong, in the database and in the running processes."""
        asked = [part for worker in self._stack.workers if worker.pid for part in ("--metrics", worker.metrics_url)]
        done = self.run("check", *arguments, *asked)
        assert done.exit_code == 0, (done.output, done.exception)
