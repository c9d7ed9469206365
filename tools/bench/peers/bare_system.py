"""Runs the bare loop: some processes that read files, decode and predict, each its part of the photos; no rows."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

from tools.bench.peers.runs import SystemRun, figures
from tools.bench.peers.task import Task
from tools.bench.peers.watch import FamilyWatch
from tools.stack import Leash, Server
from tools.stack.server import plain_environment

END_SECONDS: Final = 1800.0


class BareProcess(Server):
    """One process; its answers are the last line of its log."""

    def __init__(self, task: Task, photos: Path, part: int, folder: Path, leash: Leash) -> None:
        super().__init__(f"bare-{part}", folder, leash)
        what = {"threads": task.threads, "batch": task.batch, "images": task.photos}
        options = {**what, "part": part, "parts": task.processes}
        named = [f"--{name}={value}" for name, value in options.items()]
        self._command = [sys.executable, "-m", "tools.bench.bare", task.archive, str(photos), *named]

    def start(self) -> None:
        """Start; returns immediately."""
        self.log.unlink(missing_ok=True)
        self.spawn(self._command, plain_environment())

    def answers(self) -> dict[str, Any]:
        """Wait for its end, and return what it found."""
        code = self.wait(END_SECONDS)
        if code:
            raise SystemExit(f"{self.name} ended with {code}; its log ends:\n{self.log_tail()}")
        found: dict[str, Any] = json.loads(self.log.read_text().splitlines()[-1])
        return found


class BareSystem:
    """The bare loop as a system that can be run."""

    name = "bare"
    title = "bare loop"

    def __init__(self, photos: Path, folder: Path, leash: Leash) -> None:
        """`photos` is a folder of files; logs go to `folder`."""
        self.version = f"torch {torch.__version__.partition('+')[0]}"
        self.expected: dict[str, dict[str, list[tuple[str, float]]]] = {}
        """By archive: the five best labels of each file that was read."""
        self._photos, self._folder, self._leash = photos, folder, leash

    def run(self, task: Task, warm: int) -> SystemRun:
        """Predict the photos."""
        del warm
        loops = [BareProcess(task, self._photos, part, self._folder, self._leash) for part in range(task.processes)]
        began = time.time()
        try:
            with FamilyWatch({"system": lambda: [loop.pid for loop in loops]}) as watch:
                for loop in loops:
                    loop.start()
                found = [loop.answers() for loop in loops]
        finally:
            for loop in loops:
                loop.stop()
        answers = {name: best for each in found for name, best in each["predictions"].items()}
        self.expected.setdefault(task.archive, {}).update(answers)
        return SystemRun(
            began=began,
            committed=sorted(done for each in found for done in each["done"]),
            predictions={name: (best[0][0], best[0][1]) for name, best in answers.items()},
            families=watch.families,
        )


def arrangements(cores: int) -> list[tuple[int, int]]:
    """Return processes and threads of each that are tried: as many threads as cores, and twice as many."""
    counts = [count for count in range(1, cores + 1) if cores % count == 0]
    return [(count, threads * cores // count) for count in counts for threads in (1, 2)]


def sweep(bare: BareSystem, task: Task, photos: int, tried: Sequence[tuple[int, int]]) -> dict[tuple[int, int], float]:
    """Return the images per second of each arrangement in a short run of at least so many photos."""
    rates = {}
    for processes, threads in tried:
        warm = task.batch * processes
        short = replace(task, processes=processes, threads=threads, photos=max(photos, 4 * warm))
        rates[processes, threads] = figures(bare.run(short, warm), warm)["rate"] or 0.0
    return rates
