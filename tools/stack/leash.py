"""Ends the servers of a program that is gone, however it ended; a separate process, started by `Leash`.

The program tells it its process groups through a pipe. When the program closes the pipe or dies, even by kill -9, it
ends the remaining groups and removes the program's folders.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, Self

GRACE_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.05


class Leash:
    """The program's end of the pipe. Close it last, since that removes the folders."""

    def __init__(self, *folders: Path) -> None:
        """Start it; the folders are removed at the end."""
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__, *map(str, folders)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # not for a Ctrl-C in the terminal
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hold(self, group: int) -> None:
        """End this process group when the program is gone."""
        self._say(f"+{group}")

    def let_go(self, group: int) -> None:
        """Forget a group that has ended, because its number may be reused."""
        self._say(f"-{group}")

    def close(self) -> None:
        """End the remaining groups, and wait for the end."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()

    def _say(self, line: str) -> None:
        if self._process.stdin is None or self._process.stdin.closed:
            raise RuntimeError("the leash is closed: nothing may be started any more")
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


def signal_group(group: int, number: signal.Signals) -> bool:
    """Signal a process group; return whether any of it was left."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def end_groups(groups: set[int]) -> None:
    """Send SIGTERM to each group, then SIGKILL."""
    for group in groups:
        signal_group(group, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline:
        groups = {group for group in groups if _is_left(group)}
        if not groups:
            return
        time.sleep(POLL_SECONDS)
    for group in groups:
        signal_group(group, signal.SIGKILL)


def _is_left(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def watch() -> None:
    """Follow the program until it is gone, then clean up."""
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line.startswith("+"):
            groups.add(group)
        else:
            groups.discard(group)
    end_groups(groups)
    for folder in sys.argv[1:]:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    watch()
