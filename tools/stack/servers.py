"""The servers that Sluice needs, in one private folder: a database, S3 and TorchServe."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn, Self

from tools.stack.database import DatabaseServer
from tools.stack.leash import Leash
from tools.stack.server import Server
from tools.stack.storage import S3Server
from tools.stack.torchserve import WITH_AGENT, TorchServe, archive_of

MEMORY: Final = Path("/dev/shm")  # noqa: S108 - mkdtemp names the folder there
MEMORY_LEAST: Final = 4 << 30
"""Bytes that must be free: a new database takes 150 MB, and a whole run has several."""


class Servers:
    """The three servers, not started yet. Leaving ends them and removes the folder."""

    def __init__(
        self,
        *,
        models: Sequence[str] = ("noop",),
        torchserve_workers: int | None = 1,
        database_options: Sequence[str] = (),
        has_agent: bool = False,
        in_memory: bool = False,
        keep: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`has_agent`: TorchServe takes models from an agent; `keep` leaves the folder for debugging.

        `in_memory`: the database's files survive its process, but no disk is waited for; for tests.
        `torchserve_workers`: processes of each model; None: as many as this machine has room for. `say` is called for
        each server that is ready.
        """
        # Short, because a socket's path may have only 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="sluice-"))
        self.say = say
        data = _folder_in_memory() if in_memory else self.folder
        self.leash = Leash(*(() if keep else {self.folder, data}))
        self.database = DatabaseServer(self.folder, self.leash, database_options, data)
        self.s3 = S3Server(self.folder, self.leash)
        archives = [archive_of(model) for model in models]
        options = WITH_AGENT if has_agent else None
        self.torchserve = TorchServe(self.folder, self.leash, archives, workers=torchserve_workers, options=options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def all(self) -> tuple[TorchServe, S3Server, DatabaseServer]:
        """Return the three servers, in the order of stopping."""
        return (self.torchserve, self.s3, self.database)

    def start(self, *wanted: Server) -> None:
        """Start the wanted servers (default: all) that aren't running, in parallel."""
        begun = time.monotonic()
        absent = [server for server in self.all if server.pid is None and (server in wanted or not wanted)]
        for server in absent:
            server.start()
        for server in reversed(absent):
            server.wait_ready()
            self.say(f"{server.name} is ready ({time.monotonic() - begun:.1f} s)")

    def close(self) -> None:
        """Stop them and remove the folder."""
        for server in self.all:
            server.stop()
        self.leash.close()


def _folder_in_memory() -> Path:
    """Make a folder in a file system in memory, or on the disk where there is none with room."""
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_LEAST
    return Path(tempfile.mkdtemp(prefix="sluice-", dir=MEMORY if has_room else None))


@contextlib.contextmanager
def orderly_end() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit, so that context managers can clean up."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        del frame
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
