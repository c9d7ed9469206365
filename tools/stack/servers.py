"""The servers that Sluice needs, in one private folder: a database, S3 and TorchServe."""

from __future__ import annotations

import contextlib
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn, Self

from tools.stack.database import DatabaseServer
from tools.stack.leash import Leash
from tools.stack.server import Server
from tools.stack.storage import S3Server
from tools.stack.torchserve import WITH_AGENT, TorchServe, archive_of


class Servers:
    """The three servers, not started yet. Leaving ends them and removes the folder."""

    def __init__(
        self,
        *,
        models: Sequence[str] = ("noop",),
        torchserve_workers: int | None = 1,
        database_options: Sequence[str] = (),
        has_agent: bool = False,
        keep: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`has_agent`: TorchServe takes models from an agent; `keep` leaves the folder for debugging.

        `torchserve_workers`: processes of each model; None: as many as this machine has room for. `say` is called for
        each server that is ready.
        """
        # Short, because a socket's path may have only 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="sluice-"))
        self.say = say
        self.leash = Leash(None if keep else self.folder)
        self.database = DatabaseServer(self.folder, self.leash, database_options)
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
