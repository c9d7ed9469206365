"""The storm: a job runs while its processes are killed, drained, and restarted as by a supervisor."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import psutil

from sluice import ledger
from sluice.errors import LedgerError
from sluice.ledger import Database, JobProgress
from tools.stack import DatabaseServer, S3Server, Servers, Stack, TorchServe, Worker
from tools.storm.schedule import CONSUMERS, Counts, Fault, make_schedule
from tools.storm.verdict import Outcome, judge

Victim = Worker | TorchServe | S3Server | DatabaseServer

BUCKET: Final = "storm"
TICK_SECONDS: Final = 0.05
STANDSTILL_SECONDS: Final = 180.0
DRAIN_SECONDS: Final = 40.0
"""A consumer has SLUICE_DRAIN_SECONDS (25); the rest is for a busy machine."""
MEMORY_MB: Final = 400.0
MB: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Drain:
    """A consumer that was told to drain."""

    worker: Worker
    since: float
    down: float


class Storm:
    """The run of one seed on one stack."""

    def __init__(
        self, stack: Stack, job: int, outcome: Outcome, faults: Sequence[Fault], say: Callable[[str], None]
    ) -> None:
        self._stack = stack
        self._job = job
        self._outcome = outcome
        self._faults = deque(faults)
        # Short patience: faults and restarts must go on while the ledger is away.
        self._database = Database(stack.settings.model_copy(update={"database_patience": 0.2}))
        self._say = say
        self._said = 0
        self._last_blow = 0.0
        self._down: dict[Victim, float] = {}
        self._drains: dict[Victim, Drain] = {}
        self._progress: JobProgress | None = None
        self._moved = time.monotonic()

    def run(self) -> None:
        """Inject faults until the schedule is empty and the job is done."""
        begun = time.monotonic()
        try:
            while not (self._is_done() and not self._faults):
                now = time.monotonic()
                self._look(now)
                self._supervise(now)
                self._strike(now)
                if now - self._moved > STANDSTILL_SECONDS:
                    self._outcome.breaches.append(f"nothing was done for {STANDSTILL_SECONDS:g} s: {self._progress}")
                    return
                time.sleep(TICK_SECONDS)
            self._outcome.seconds = time.monotonic() - begun
        finally:
            self._database.close()
        self._settle()

    def _is_done(self) -> bool:
        return self._progress is not None and self._progress.state == "done"

    def _look(self, now: float) -> None:
        """Read the job's progress, unless the ledger is away."""
        try:
            found = self._database.run(ledger.progress.progress, self._job)
        except LedgerError:
            return
        before, self._progress = self._progress, found
        if before is None or found is None or found.done != before.done:
            self._moved = now
        tenths = 10 * found.done // self._outcome.objects if found else 0
        if tenths > self._said:
            self._said = tenths
            self._say(f"{tenths}0 % are done, {len(self._faults)} blows are left")
        for worker in self._stack.workers:
            if worker.pid is not None:
                self._outcome.peak_mb = max(self._outcome.peak_mb, resident(worker.pid) / MB)

    def _supervise(self, now: float) -> None:
        """Restart processes that were killed, have drained or crashed."""
        for server, drain in list(self._drains.items()):
            if server.exit_code is None:
                if now - drain.since > DRAIN_SECONDS:
                    self._outcome.breaches.append(f"{server.name} still drains after {DRAIN_SECONDS:g} s")
                    server.kill()
                continue
            del self._drains[server]
            self._down[server] = now + drain.down
            if server.exit_code != 0:
                self._outcome.breaches.append(f"{server.name} drained and exited with {server.exit_code}")
        victims: list[Victim] = [*self._stack.workers, *self._stack.servers.all]
        for server in victims:
            if server.pid is None and server not in self._down and server not in self._drains:
                self._outcome.breaches.append(f"{server.name} ended by itself with {server.exit_code}")
                self._down[server] = now
        for server in [server for server, due in self._down.items() if due <= now]:
            del self._down[server]
            server.start()

    def _strike(self, now: float) -> None:
        """Inject the next fault, if it is time and its target is running."""
        if not self._faults or self._progress is None:
            return
        fault = self._faults[0]
        share = self._progress.done / self._outcome.objects
        if share < fault.at or now < self._last_blow + fault.after:
            return
        victim = self._victim(fault)
        if victim is None:
            return
        self._faults.popleft()
        self._last_blow = now
        self._outcome.blows[fault.kind] += 1
        if fault.kind == "drain":
            victim.terminate()
            self._drains[victim] = Drain(victim, now, fault.down)  # type: ignore[arg-type]
            return
        if fault.kind == "producer":
            self._count_deliveries()
        self._drains.pop(victim, None)
        victim.kill()
        self._down[victim] = now + fault.down

    def _victim(self, fault: Fault) -> Victim | None:
        """Return the fault's target: the consumer that it names, or the next running one."""
        servers = self._stack.servers
        one: dict[str, Victim] = {
            "producer": self._stack.producers[0],
            "database": servers.database,
            "torchserve": servers.torchserve,
        }
        if fault.kind in one:
            return one[fault.kind] if one[fault.kind].pid is not None else None
        consumers = self._stack.consumers
        for number in range(len(consumers)):
            found = consumers[(fault.victim + number) % len(consumers)]
            if found.pid is None or (fault.kind == "drain" and (found in self._drains or not found.metrics())):
                continue
            return found
        return None

    def _count_deliveries(self) -> None:
        """Add this producer's count of deliveries."""
        self._outcome.redelivered += int(self._stack.producers[0].metrics().get("sluice_leased_total", 0))

    def _settle(self) -> None:
        """Restart everything, read the running processes once more, and stop the workers cleanly."""
        self._count_deliveries()
        self._outcome.redelivered = max(0, self._outcome.redelivered - self._outcome.objects)
        self._stack.servers.start()
        for worker in self._stack.workers:
            refused = worker.metrics().get("sluice_rejected_frames_total", 0) if worker.pid else 0
            if refused:
                self._outcome.breaches.append(f"{worker.name} refused {refused:.0f} messages")
        if self._outcome.peak_mb > MEMORY_MB:
            self._outcome.breaches.append(f"a worker had {self._outcome.peak_mb:.0f} MB")
        for worker in self._stack.workers:
            code = worker.stop(DRAIN_SECONDS) if worker.pid else 0
            if code != 0:
                self._outcome.breaches.append(f"{worker.name} was stopped and exited with {code}")


def storm(servers: Servers, seed: int, objects: int, counts: Counts, say: Callable[[str], None]) -> Outcome:
    """Run a job of the bucket's `objects` pictures through a seed's storm, and check the result."""
    outcome = Outcome(seed, objects)
    servers.start()
    with Stack(servers, f"storm{seed}", cache_entries=0) as stack:
        stack.start_workers(CONSUMERS)
        with Database(stack.settings) as database:
            job = database.run(ledger.jobs.submit, f"s3://{BUCKET}", "noop")
            Storm(stack, job, outcome, make_schedule(seed, counts), say).run()
            servers.start(servers.database)
            judge(database, job, outcome)
        if outcome.breaches:
            say(f"seed {seed}: {outcome.breaches}\n{stack.log_tails()}")
    return outcome


def resident(pid: int) -> int:
    """Return a process's resident bytes; 0 when it is gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
