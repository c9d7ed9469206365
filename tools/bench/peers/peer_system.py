"""Runs a peer: an empty table, its program until the last row, for servers with their client."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import requests

from tools.bench.peers.environments import environment_of, lock_of, version_of
from tools.bench.peers.roster import Peer
from tools.bench.peers.rows import create_table, read_rows
from tools.bench.peers.runs import SystemRun
from tools.bench.peers.task import Task
from tools.bench.peers.watch import FamilyWatch
from tools.stack import Leash, Server, Servers
from tools.stack.server import plain_environment

END_SECONDS: Final = 1800.0
START_SECONDS: Final = 120.0
ASK_SECONDS: Final = 5.0
QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # also on Linux what makes Ray listen on loopback only
}
"""None of them reports to its makers, or listens where others could reach it."""


class PeerProgram(Server):
    """A process of a peer's environment, in a folder that has its task."""

    def __init__(
        self, name: str, command: tuple[str, ...], folder: Path, leash: Leash, variables: Mapping[str, str]
    ) -> None:
        super().__init__(name, folder, leash)
        self._command, self._folder, self._variables = command, folder, dict(variables)

    def start(self) -> None:
        """Start; returns before it is ready."""
        self.spawn(self._command, plain_environment(**self._variables), cwd=self._folder)


class PeerSystem:
    """A peer as a system that can be run."""

    def __init__(self, peer: Peer, servers: Servers) -> None:
        self.name, self.title = peer.name, peer.title
        self.version = version_of(peer.name, peer.package)
        self._peer, self._servers = peer, servers
        self._bin = environment_of(lock_of(peer.name)) / "bin"

    def run(self, task: Task, warm: int) -> SystemRun:
        """Classify the photos with fresh processes and an empty table."""
        folder = self._servers.folder / "peer"
        folder.mkdir()
        database = f"peer_{self.name}"
        self._servers.database.create(database)
        options = folder / "client.cnf"
        self._servers.database.write_client_file(options, database)
        task = replace(task, database=database, option_file=str(options))
        task.write(folder)
        try:
            create_table(task)
            return self._measured(task, folder, warm)
        finally:
            self._servers.database.drop(database)
            shutil.rmtree(folder)

    def _measured(self, task: Task, folder: Path, warm: int) -> SystemRun:
        programs = [self._program("program", self._peer.program, task, folder)]
        watch = FamilyWatch(
            {
                "system": lambda: [program.pid for program in programs],
                "s3": lambda: [self._servers.s3.pid],
                "database": lambda: [self._servers.database.pid],
            }
        )
        began = time.time()
        with watch, _stopped(watch, programs):
            programs[0].start()
            if self._peer.client:
                programs[0].wait_until(lambda: _answers(task.port, self._peer.health), START_SECONDS)
                programs.append(self._program("client", self._peer.client, task, folder))
                programs[1].start()
            code = programs[-1].wait(END_SECONDS)
            if code:
                raise SystemExit(f"{self.title} ended with {code}; its logs end:\n{_tails(programs)}")
        rows = read_rows(task)
        if len(rows) != task.photos:
            raise SystemExit(f"{self.title} wrote {len(rows)} rows of {task.photos}; its logs end:\n{_tails(programs)}")
        return SystemRun(
            began=began,
            committed=[row.committed for row in rows],
            predictions={Path(row.url).name: (row.label, row.score) for row in rows},
            families=watch.families,
            latencies=[row.committed - row.fetched for row in rows[warm:]],
        )

    def _program(self, name: str, command: tuple[str, ...], task: Task, folder: Path) -> PeerProgram:
        variables = {
            **self._servers.s3.environment,
            **QUIET,
            "AWS_ENDPOINT_URL": self._servers.s3.endpoint,
            "BENTOML_HOME": str(folder / "bentoml"),
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PATH": f"{self._bin}:{os.defpath}",
        }
        whole = (str(self._bin / command[0]), *(part.format(port=task.port) for part in command[1:]))
        return PeerProgram(name, whole, folder, self._servers.leash, variables)


@contextlib.contextmanager
def _stopped(watch: FamilyWatch, programs: list[PeerProgram]) -> Iterator[None]:
    """Stop programs in the end, and whatever they started."""
    try:
        yield
    finally:
        for program in reversed(programs):
            program.stop()
        watch.end_all("system")


def _answers(port: int, path: str) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/{path}", timeout=ASK_SECONDS).ok
    except requests.RequestException:
        return False


def _tails(programs: list[PeerProgram]) -> str:
    return "\n".join(program.log_tail() for program in programs)
