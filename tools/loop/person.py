"""The person of the loop: types `sluice`, asks with SQL, and says by the gateway's API where a model is wrong."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import requests

from sluice.ledger import Database
from tools.loop.pictures import truth_of
from tools.stack import Stack
from tools.stack.programs import add_program
from tools.stack.workers import Gateway

API_SECONDS: Final = 60.0
PAGE: Final = 500
WIDTH: Final = "120"


class LoopError(Exception):
    """Raised when the loop doesn't close: a command fails, or something isn't as it was told."""


class LoopPerson:
    """Somebody with a terminal and an account."""

    def __init__(self, stack: Stack, gateway: Gateway) -> None:
        self._stack = stack
        self._url = gateway.url
        self._session = requests.Session()
        with Database(stack.settings) as database:
            token = database.run(add_program, "the loop", "loop@example.com", "admin").token
        self._session.headers["Authorization"] = f"Bearer {token}"

    def types(self, *words: str, code: int = 0) -> None:
        """Run `sluice`, and show what it prints; it must end with `code`."""
        print(f"    $ sluice {shlex.join(words)}", flush=True)
        program = Path(sys.executable).parent / "sluice"
        environment = {"COLUMNS": WIDTH, **self._stack.environment}
        done = subprocess.run(
            [program, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        for line in done.stdout.splitlines():
            print(f"      {line}".rstrip(), flush=True)
        if done.returncode != code:
            raise LoopError(f"`sluice {shlex.join(words)}` ended with {done.returncode}")

    def submits(self, *words: str) -> int:
        """Submit a job, wait for its end, and return its number."""
        self.types("submit", *words, "--wait")
        (row,) = self.asks("SELECT MAX(id) AS job FROM jobs")
        return int(row["job"])

    def asks(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """Return the rows of a statement."""
        with Database(self._stack.settings) as database:
            return database.run(lambda cursor: (cursor.execute(sql, values or None), list(cursor.fetchall()))[1])

    def results(self, job: int) -> list[dict[str, Any]]:
        """Return a job's results as the API gives them, each with what the picture really shows as `truth`."""
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self._asked("GET", f"jobs/{job}/results", params={"cursor": cursor, "limit": PAGE})
            found, cursor = found + page["results"], page["next"]
        return [{**each, "truth": truth_of(each["url"])} for each in found]

    def card(self, name: str, version: str) -> dict[str, Any]:
        """Return what a version says of itself."""
        card: dict[str, Any] = self._asked("GET", f"models/{name}/{version}")["card"]
        return card

    def says(self, object_id: int, label: str) -> None:
        """Say what a picture really shows."""
        self._asked("POST", "feedback", json={"object_id": object_id, "label": label})

    def _asked(self, method: str, path: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - what requests takes
        answer = self._session.request(method, f"{self._url}/api/v1/{path}", timeout=API_SECONDS, **more)
        if not answer.ok:
            raise LoopError(f"{method} /api/v1/{path} answers {answer.status_code}: {answer.text[:300]}")
        found: dict[str, Any] = answer.json()
        return found
