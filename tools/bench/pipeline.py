"""Measures Sluice itself: a job from its first listed page to its last committed row."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from sluice import ledger
from sluice.ledger import Database
from tools.bench import host
from tools.stack import Servers, Stack, Worker, archive_of, card_of, start_all

POLL_SECONDS: Final = 0.25
LIMIT_SECONDS: Final = 1800.0


@dataclass(frozen=True)
class PipelineRun:
    """The results of a run."""

    images: int
    seconds: float
    cpu: dict[str, float]
    peak_mib: dict[str, float]
    p50: float
    p99: float
    stolen: float
    """The share of this machine's CPU time that its host gave to others meanwhile."""
    predictions: dict[str, tuple[str, float]]


def run(
    servers: Servers,
    name: str,
    bucket: str,
    model: str,
    *,
    consumers: int,
    repeats: int = 1,
    variables: Mapping[str, str] | None = None,
    started: Callable[[Stack], None] = lambda _: None,
    **settings: object,
) -> PipelineRun:
    """Classify a bucket with fresh processes and a fresh ledger; `settings` are theirs.

    `variables` are additional environment variables of producer and consumers; `started` is called before the job.
    """
    spec = f"{model}@{card_of(archive_of(model))['version']}"
    with Stack(servers, name, cache_entries=0, **settings) as stack:
        workers = [stack.add_producer(), *(stack.add_consumer() for _ in range(consumers))]
        for worker in workers:
            worker.variables = dict(variables or {})
        start_all(*workers)
        started(stack)
        before, clocks = _cpu(servers, stack.workers), host.clocks()
        with Database(stack.settings) as database:
            job = database.run(ledger.jobs.submit, f"s3://{bucket}", spec, repeats=repeats)
            wait_for_end(database, job)
            row = database.run(ledger.jobs.get, job)
            done = database.run(ledger.progress.progress, job)
            breaches = database.run(ledger.check.check)
            predictions = predictions_of(database, job)
        if row is None or done is None or row.started is None or row.finished is None or done.pending or breaches:
            raise SystemExit(f"the job did not end as it should: {row} {done} {breaches}\n{stack.log_tails()}")
        after, stolen = _cpu(servers, stack.workers), host.stolen(clocks)
        p50, p99 = latency_quantiles(stack)
        return PipelineRun(
            images=done.done,
            seconds=(row.finished - row.started).total_seconds(),
            cpu={part: after[part] - before[part] for part in after},
            peak_mib=_peaks(servers, stack.workers),
            p50=p50,
            p99=p99,
            stolen=stolen,
            predictions=predictions,
        )


def wait_for_end(database: Database, job: int) -> None:
    """Wait until a job is done or has failed; at most LIMIT_SECONDS."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        found = database.run(ledger.jobs.get, job)
        if found is not None and found.state in {"done", "failed"}:
            return
        time.sleep(POLL_SECONDS)


def predictions_of(database: Database, job: int) -> dict[str, tuple[str, float]]:
    """Return label and score of each photo of a job by its name."""
    found: dict[str, tuple[str, float]] = {}
    after = 0
    while page := database.run(ledger.predictions.results, job, after_id=after):
        found |= {Path(row.url).name: (row.label, row.score) for row in page}
        after = page[-1].object_id
    return found


def _trees(servers: Servers, workers: Sequence[Worker]) -> dict[str, list[psutil.Process]]:
    """Return each part's processes; TorchServe's Python workers are separate from its Java process."""
    trees: dict[str, list[psutil.Process]] = {}
    for server in (*servers.all, *workers):
        if server.pid is not None:
            head = psutil.Process(server.pid)
            trees[server.name] = [head, *head.children(recursive=True)]
    family = trees.pop(servers.torchserve.name)
    trees["torchserve (java)"] = [process for process in family if process.name() == "java"]
    trees["torchserve (python)"] = [process for process in family if process.name() != "java"]
    return trees


def _cpu(servers: Servers, workers: Sequence[Worker]) -> dict[str, float]:
    return {
        name: sum(process.cpu_times().user + process.cpu_times().system for process in tree)
        for name, tree in _trees(servers, workers).items()
    }


def _peaks(servers: Servers, workers: Sequence[Worker]) -> dict[str, float]:
    """Return the highest resident size of each part's largest process."""
    return {name: max(peak_mib(process.pid) for process in tree) for name, tree in _trees(servers, workers).items()}


def peak_mib(pid: int | None) -> float:
    """Return a process's peak resident size; 0 if it has ended and isn't reaped yet."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def latency_quantiles(stack: Stack) -> tuple[float, float]:
    """Return the median and the 99th percentile of the seconds from lease to committed row."""
    metrics = stack.producers[0].metrics()
    return _quantile(metrics, 0.5), _quantile(metrics, 0.99)


def _quantile(metrics: dict[str, float], share: float) -> float:
    """Interpolate a quantile from the histogram of lease-to-end seconds."""
    bounds = sorted(
        (float(name.partition('le="')[2].rstrip('"}')), count)
        for name, count in metrics.items()
        if name.startswith("sluice_object_seconds_bucket")
    )
    wanted = share * bounds[-1][1]
    low, below = 0.0, 0.0
    for bound, count in bounds:
        if count >= wanted and count > below:
            return low if bound == float("inf") else low + (bound - low) * (wanted - below) / (count - below)
        low, below = bound, count
    return low
