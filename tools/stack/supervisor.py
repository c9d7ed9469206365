"""Starts processes of a stack again when they end, as systemd or kubelet does elsewhere."""

from __future__ import annotations

import contextlib
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Self

from tools.stack.server import Server, StackError

POLL_SECONDS: Final = 0.5
TRIES: Final = 3
"""So often in a row a process may end before it is ready."""


class Supervisor:
    """Watches processes that are ready, in a thread; leave it before they are stopped on purpose."""

    def __init__(self, servers: Iterable[Server], say: Callable[[str], None], kept: Path) -> None:
        """`say` is called for each end and start; the log of a process that won't start goes to the folder `kept`."""
        self._servers = tuple(servers)
        self._say = say
        self._kept = kept
        self._unready: Counter[str] = Counter()
        self._failure = ""
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._thread.join()

    def check(self) -> None:
        """Raise StackError if a process couldn't be started again."""
        if self._failure:
            raise StackError(self._failure)

    def _watch(self) -> None:
        while not self._failure and not self._leaving.wait(POLL_SECONDS):
            for server in self._servers:
                if server.pid is None and not self._failure:
                    self._start_again(server)

    def _start_again(self, server: Server) -> None:
        what = f"{server.name} {_how_it_ended(server.exit_code)}"
        if self._unready[server.name] >= TRIES:
            self._give_up(server, f"{what}, {TRIES} times before it was ready")
            return
        self._unready[server.name] += 1
        self._say(f"{what}: starting it again")
        try:
            server.start()
        except (StackError, OSError) as error:
            self._give_up(server, f"{what}, and can't be started again ({error})")
            return
        threading.Thread(target=self._see, args=(server, server.starts), daemon=True).start()

    def _see(self, server: Server, start: int) -> None:
        """Say when it is ready; if it ends before, the other thread tries again."""
        with contextlib.suppress(StackError):
            server.wait_ready()
            if server.starts == start:
                self._unready[server.name] = 0
                self._say(f"{server.name} is ready again")

    def _give_up(self, server: Server, what: str) -> None:
        self._kept.mkdir(parents=True, exist_ok=True)
        kept = self._kept / server.log.name
        if server.log.exists():
            shutil.copy(server.log, kept)
        self._failure = f"{what}: its log is {kept} and ends:\n{server.log_tail()}"


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with {code}"
