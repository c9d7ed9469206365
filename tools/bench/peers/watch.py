"""Watches processes of a run with all their descendants: processor time and memory, sampled while they live."""

from __future__ import annotations

import contextlib
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import psutil

SAMPLE_SECONDS: Final = 0.5
MEMORY_EVERY: Final = 4
"""Samples: the kernel walks all pages of a process to tell its share of shared ones."""
END_SECONDS: Final = 10.0

GONE: Final = (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied, FileNotFoundError, ProcessLookupError)

Pids = Callable[[], Iterable[int | None]]


@dataclass
class Family:
    """Processes that were started by some others, also those that have ended."""

    cpu: dict[psutil.Process, float] = field(default_factory=dict)
    clock: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """Processor time of all of them until each moment of `clock`."""
    peak_mib: float = 0.0

    def note(self, living: Iterable[psutil.Process]) -> None:
        """Take a sample of those that live."""
        for process in living:
            with contextlib.suppress(*GONE):
                times = process.cpu_times()
                self.cpu[process] = times.user + times.system
        self.clock.append(time.time())
        self.seconds.append(sum(self.cpu.values()))

    def note_memory(self, living: Iterable[psutil.Process]) -> None:
        """Add up their memory; pages that several share count once."""
        total = 0
        for process in living:
            with contextlib.suppress(*GONE):
                total += process.memory_full_info().pss
        self.peak_mib = max(self.peak_mib, total / 2**20)

    def between(self, start: float, end: float) -> float:
        """Return the processor time that they took between two moments."""
        return self._until(end) - self._until(start)

    def _until(self, moment: float) -> float:
        place = bisect_left(self.clock, moment)
        if place == 0 or place == len(self.clock):
            return self.seconds[min(place, len(self.clock) - 1)] if self.clock else 0.0
        earlier, later = self.clock[place - 1], self.clock[place]
        share = (moment - earlier) / (later - earlier)
        return self.seconds[place - 1] + share * (self.seconds[place] - self.seconds[place - 1])


class FamilyWatch:
    """A thread that samples families from entering to leaving."""

    def __init__(self, heads: Mapping[str, Pids]) -> None:
        """`heads` returns the first process of each family; it is asked for each sample."""
        self.families = {name: Family() for name in heads}
        self._heads = heads
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def end_all(self, name: str) -> list[str]:
        """End processes of a family that are left, even if they have left its tree; return their names."""
        left = [process for process in list(self.families[name].cpu) if process.is_running()]
        names = []
        for process in left:
            with contextlib.suppress(*GONE):
                names.append(process.name())
                process.kill()
        psutil.wait_procs(left, END_SECONDS)
        return names

    def _run(self) -> None:
        samples = 0
        while True:
            ended = self._ended.wait(SAMPLE_SECONDS if samples else 0)
            parents = _parents()
            for name, family in self.families.items():
                living = _descendants(parents, {pid for pid in self._heads[name]() if pid}, family)
                family.note(living)
                if samples % MEMORY_EVERY == 0 or ended:
                    family.note_memory(living)
            samples += 1
            if ended:
                return


def _parents() -> dict[psutil.Process, int]:
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(*GONE):
            found[process] = process.ppid()
    return found


def _descendants(parents: dict[psutil.Process, int], heads: set[int], family: Family) -> list[psutil.Process]:
    """Return the living of a family: its heads, whoever was in it before, and children of these."""
    inside = {process.pid for process in parents if process.pid in heads or process in family.cpu}
    while more := {process.pid for process, parent in parents.items() if parent in inside} - inside:
        inside |= more
    return [process for process in parents if process.pid in inside]
