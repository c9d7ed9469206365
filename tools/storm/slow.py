"""One of four consumers is ten times slower: how much longer does a job take than with an ideal split by speed?

All four consumers are slowed by SIGSTOP and SIGCONT: the three fast ones run for a quarter of each period, the slow one
for a fortieth, one after the other. So they never compete for a core, and a consumer's speed is its share. The ideal is
measured with the three fast ones alone, between the first and last tenth of a run before and of one after. If the two
differ much, the machine was busy with something else and the result is useless.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from sluice import ledger
from sluice.ledger import Database
from tools.stack import Servers, Stack, StackError, Worker

BUCKET: Final = "slow"
SIDE: Final = 1000
"""So large that decoding is most of the work, and neither TorchServe nor the ledger is the bottleneck."""
PERIOD_SECONDS: Final = 0.2
FAST_SHARE: Final = 0.25
TIMES_SLOWER: Final = 10
FAST: Final = 3
POLL_SECONDS: Final = 0.02
LIMIT_SECONDS: Final = 900.0


@dataclass(frozen=True, slots=True)
class Slow:
    """The results of both runs."""

    objects: int
    fast_rates: tuple[float, float]
    """Objects per second of one fast consumer, before and after."""
    ideal: float
    makespan: float
    by_consumer: dict[str, int]

    @property
    def ratio(self) -> float:
        """Return the job's duration divided by that of the ideal split."""
        return self.makespan / self.ideal


class DutyCycle(AbstractContextManager["DutyCycle"]):
    """Lets each process run for its share of every period, one after the other."""

    def __init__(self, turns: Sequence[tuple[Worker, float]]) -> None:
        self._turns = [(worker.pid, share) for worker, share in turns if worker.pid is not None]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="duty-cycle")

    def __enter__(self) -> Self:
        for pid, _ in self._turns:
            os.kill(pid, signal.SIGSTOP)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        for pid, _ in self._turns:
            os.kill(pid, signal.SIGCONT)

    def _run(self) -> None:
        while not self._over.is_set():
            begun = time.monotonic()
            for pid, share in self._turns:
                os.kill(pid, signal.SIGCONT)
                time.sleep(PERIOD_SECONDS * share)
                os.kill(pid, signal.SIGSTOP)
            time.sleep(max(0.0, begun + PERIOD_SECONDS - time.monotonic()))


def slow(servers: Servers, objects: int) -> Slow:
    """Run the job with the slow consumer, and before and after it with the fast ones alone."""
    servers.start()
    before = _fast_rate(servers, "before", objects)
    moments, by_consumer = _run(servers, "slow", objects, [FAST_SHARE] * FAST + [FAST_SHARE / TIMES_SLOWER])
    after = _fast_rate(servers, "after", objects)
    ideal = objects / ((before + after) / 2 * (FAST + 1 / TIMES_SLOWER))
    return Slow(objects, (before, after), ideal, moments[-1][0], by_consumer)


def _fast_rate(servers: Servers, name: str, objects: int) -> float:
    moments = _run(servers, name, objects, [FAST_SHARE] * FAST)[0]
    first, last = objects // 10, objects * 9 // 10
    return (last - first) / (_moment(moments, last) - _moment(moments, first)) / FAST


def _run(
    servers: Servers, name: str, objects: int, shares: Sequence[float]
) -> tuple[list[tuple[float, int]], dict[str, int]]:
    """Return samples of (seconds since the job was submitted, objects done), and each consumer's count."""
    with Stack(servers, name, cache_entries=0, decode_threads=1) as stack, Database(stack.settings) as database:
        stack.start_workers(len(shares))
        with DutyCycle(list(zip(stack.consumers, shares, strict=True))):
            job = database.run(ledger.jobs.submit, f"s3://{BUCKET}", "noop")
            moments = _follow(database, job, objects)
        counts = {worker.name: int(worker.metrics().get("sluice_committed_total", 0)) for worker in stack.consumers}
        return moments, counts


def _follow(database: Database, job: int, objects: int) -> list[tuple[float, int]]:
    begun = time.monotonic()
    moments: list[tuple[float, int]] = []
    while not moments or moments[-1][1] < objects:
        found = database.run(ledger.progress.progress, job)
        moments.append((time.monotonic() - begun, found.done if found else 0))
        if moments[-1][0] > LIMIT_SECONDS:
            raise StackError(f"the job is not done after {LIMIT_SECONDS:g} s: {found}")
        time.sleep(POLL_SECONDS)
    return moments


def _moment(moments: Sequence[tuple[float, int]], done: int) -> float:
    return next(seconds for seconds, count in moments if count >= done)
