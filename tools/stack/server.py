"""One process of a stack, with its log and process group: start, kill -9, SIGTERM, restart."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tools.stack.leash import Leash, signal_group

ROOT: Final = Path(__file__).resolve().parents[2]
POLL_SECONDS: Final = 0.05
TAIL_LINES: Final = 25
START_SECONDS: Final = 60.0


class StackError(Exception):
    """Raised when a server can't be started; the message has the end of its log."""


class Server:
    """A process that can be started many times; subclasses add its command and its readiness check."""

    def __init__(self, name: str, folder: Path, leash: Leash) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.starts = 0
        self.variables: dict[str, str] = {}
        """Additional environment variables, from the next start on."""
        self._leash = leash
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Return the pid while the process is alive."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """Return the last exit code; negative: ended by that signal. None while it is alive."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start it; returns before it is ready."""
        raise NotImplementedError

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until it is ready."""
        raise NotImplementedError

    def spawn(self, command: Sequence[str | Path], environment: Mapping[str, str], cwd: Path = ROOT) -> None:
        """Start the process; its output is appended to its log."""
        if self.pid is not None:
            raise StackError(f"{self.name} runs already")
        self.end_group()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**environment, **self.variables},
                cwd=cwd,
                process_group=0,
            )
        self._leash.hold(self._process.pid)
        self.starts += 1

    def wait_until(self, works: Callable[[], bool], seconds: float) -> None:
        """Wait until `works` returns True; fail if the process ends or the time is over."""
        deadline = time.monotonic() + seconds
        while not works():
            if self.pid is None:
                raise StackError(f"{self.name} ended with {self.exit_code}; its log ends:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise StackError(f"{self.name} is not ready after {seconds:g} s; its log ends:\n{self.log_tail()}")
            time.sleep(POLL_SECONDS)

    def kill(self) -> None:
        """Kill it and its children with SIGKILL."""
        if self._process:
            signal_group(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self.end_group()

    def freeze(self) -> None:
        """Stop it and its children with SIGSTOP."""
        if self._process:
            signal_group(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue it with SIGCONT."""
        if self._process:
            signal_group(self._process.pid, signal.SIGCONT)

    def terminate(self) -> None:
        """Send SIGTERM to the process (not to its children) and return immediately."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float) -> int:
        """Wait for its end and return the exit code."""
        if self._process is None:
            raise StackError(f"{self.name} was never started")
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise StackError(f"{self.name} still runs after {seconds:g} s:\n{self.log_tail()}") from None

    def stop(self, seconds: float = 30.0) -> int | None:
        """End it with SIGTERM, by force if that takes too long; return the exit code."""
        if self._process is None:
            return None
        self.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        self.end_group()
        return self._process.poll()

    def end_group(self) -> None:
        """Make sure that no child outlives the process."""
        if self._process:
            signal_group(self._process.pid, signal.SIGKILL)
            self._leash.let_go(self._process.pid)

    def log_tail(self, lines: int = TAIL_LINES) -> str:
        """Return the end of the log."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join("    " + line for line in self.log.read_text(errors="replace").splitlines()[-lines:])


def plain_environment(**more: str) -> dict[str, str]:
    """Return this process's environment without settings of other Sluices and S3 accounts."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "AWS_CA_BUNDLE" or not name.startswith(("SLUICE_", "AWS_"))
    }
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}
