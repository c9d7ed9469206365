"""Stops TorchServe, then fills its queue: nothing may be quarantined, memory may not grow, and work must resume.

The full queue is real: it has space for one request, and the Python worker is stopped (SIGSTOP), so the queue fills and
TorchServe itself answers 503.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import psutil
import requests

from sluice import ledger
from sluice.ledger import Database, JobProgress
from tools.stack import Servers, Stack, StackError, TorchServe, archive_of
from tools.storm.pictures import picture
from tools.storm.storm import MB, resident

BUCKET: Final = "overload"
CONSUMERS: Final = 2
REPEATS: Final = 1000
"""Enough that the job doesn't end by itself in this time."""
POLL_SECONDS: Final = 0.1
WARM_SECONDS: Final = 10.0
LIMIT_SECONDS: Final = 120.0
# Longer than any outage here: a stopped worker must not be treated as a dead one.
OPTIONS: Final = {"job_queue_size": "1", "default_response_timeout": "600"}


@dataclass
class Outage:
    """One outage and its end."""

    kind: str
    seconds: float
    done_during: int
    recovery: float
    """Seconds from TorchServe's first prediction to the first row committed after it."""


@dataclass
class Overload:
    """The results of both outages."""

    outages: list[Outage] = field(default_factory=list)
    full_answers: int = 0
    quarantined: int = 0
    breaches: list[str] = field(default_factory=list)
    before_mb: dict[str, float] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)


class Watch:
    """Watches a running job and the memory of its workers."""

    def __init__(self, stack: Stack, database: Database, job: int, outcome: Overload) -> None:
        self._stack = stack
        self._database = database
        self._job = job
        self._outcome = outcome

    def progress(self) -> JobProgress:
        """Read the job's progress, and record the workers' memory."""
        found = self._database.run(ledger.progress.progress, self._job)
        if found is None:
            raise StackError(f"job {self._job} is gone")
        for worker in self._stack.workers:
            if worker.pid is None:
                raise StackError(f"{worker.name} ended with {worker.exit_code}:\n{worker.log_tail()}")
            size = resident(worker.pid) / MB
            self._outcome.peak_mb[worker.name] = max(self._outcome.peak_mb.get(worker.name, 0.0), size)
        return found

    def note(self, outage: Outage) -> None:
        """Record an outage's result."""
        self._outcome.outages.append(outage)

    def during(self, seconds: float) -> int:
        """Watch for `seconds`; return how many objects were done in that time."""
        first = self.progress().done
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.progress()
            time.sleep(POLL_SECONDS)
        return self.progress().done - first

    def until_more_than(self, done: int) -> float:
        """Wait until more objects are done; return the seconds that it took."""
        begun = time.monotonic()
        while self.progress().done <= done:
            if time.monotonic() - begun > LIMIT_SECONDS:
                raise StackError(f"nothing more was done for {LIMIT_SECONDS:g} s")
            time.sleep(POLL_SECONDS / 5)
        return time.monotonic() - begun

    def until_answers(self, torchserve: TorchServe) -> int:
        """Wait for TorchServe's first prediction; return how many objects were done just before."""
        end = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < end:
            done = self.progress().done
            try:
                if requests.post(f"{torchserve.address}/predictions/noop", data=picture(0), timeout=10).ok:
                    return done
            except requests.RequestException:
                pass
            time.sleep(POLL_SECONDS / 5)
        raise StackError(f"TorchServe gave no answer for {LIMIT_SECONDS:g} s:\n{torchserve.log_tail()}")


def overload(servers: Servers, seconds: float, say: Callable[[str], None]) -> Overload:
    """Stop TorchServe for `seconds`, then fill its queue for `seconds`."""
    outcome = Overload()
    servers.start(servers.database, servers.s3)
    torchserve = TorchServe(
        servers.folder, servers.leash, [archive_of("noop")], name="torchserve-small", options=OPTIONS
    )
    torchserve.start()
    torchserve.wait_ready()
    stack = Stack(servers, "overload", cache_entries=0, torchserve=torchserve.address)
    try:
        with stack, Database(stack.settings) as database:
            stack.start_workers(CONSUMERS)
            job = database.run(ledger.jobs.submit, f"s3://{BUCKET}", "noop", repeats=REPEATS)
            watch = Watch(stack, database, job, outcome)
            watch.until_more_than(0)
            say(f"{watch.during(WARM_SECONDS)} objects are done in {WARM_SECONDS:g} s before anything happens")
            outcome.before_mb = dict(outcome.peak_mb)
            _away(torchserve, watch, seconds, say)
            _full(torchserve, watch, seconds, say)
            outcome.full_answers = int(sum(_metric(stack, "sluice_overloaded_total")))
            outcome.quarantined = watch.progress().quarantined
            outcome.breaches = [f"{b.invariant}: {b.count} {b.sentence}" for b in database.run(ledger.check.check)]
    finally:
        torchserve.stop()
    return outcome


def _away(torchserve: TorchServe, watch: Watch, seconds: float, say: Callable[[str], None]) -> None:
    """Kill it; start it again after `seconds`."""
    torchserve.kill()
    say(f"TorchServe is gone for {seconds:g} s")
    done = watch.during(seconds)
    torchserve.start()
    before = watch.until_answers(torchserve)
    watch.note(Outage("gone", seconds, done, watch.until_more_than(before)))


def _full(torchserve: TorchServe, watch: Watch, seconds: float, say: Callable[[str], None]) -> None:
    """Stop its Python workers, so that its queue stays full; continue them after `seconds`."""
    workers = _python_workers(torchserve)
    for worker in workers:
        worker.send_signal(signal.SIGSTOP)
    say(f"TorchServe is full for {seconds:g} s")
    try:
        watch.during(1.0)  # lets answers that exist already be committed
        done = watch.during(seconds - 1.0)
        before = watch.progress().done
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGCONT)
    watch.note(Outage("full", seconds, done, watch.until_more_than(before)))


def _python_workers(torchserve: TorchServe) -> list[psutil.Process]:
    if torchserve.pid is None:
        raise StackError("TorchServe doesn't run")
    children = psutil.Process(torchserve.pid).children(recursive=True)
    found = [child for child in children if any("model_service_worker" in part for part in child.cmdline())]
    if not found:
        raise StackError("TorchServe has no workers")
    return found


def _metric(stack: Stack, name: str) -> list[float]:
    return [worker.metrics().get(name, 0.0) for worker in stack.consumers]
