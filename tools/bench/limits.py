"""Measure Sluice with a large ledger, a long job and no work; each figure is compared with its bar.

keys      inserting a million keys into the ledger, a page per transaction
status    the query behind `sluice status` and the whole command, with those keys in the ledger
resume    time from kill -9 of a producer, with a million pending objects, to its successor's first lease
memory    peaks of producer and consumer in a short and in a long job
idle      CPU use of an idle producer and consumer

Prints a table; JSON goes to bench/. Exits with 1 if a figure misses its bar.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil

from sluice import ledger
from sluice.domain import ListedObject
from sluice.ledger import Database
from tools.bench import host
from tools.bench.photos import sample_photographs
from tools.bench.pipeline import peak_mib
from tools.stack import ROOT, Servers, Stack, Worker, orderly_end

NAMES: Final = ("keys", "status", "resume", "memory", "idle")
PAGE: Final = 1000
PHOTOS: Final = 500
SIDE: Final = 64
IDLE_SECONDS: Final = 20.0
SETTLE_SECONDS: Final = 5.0
LIMIT_SECONDS: Final = 1800.0
QUERIES: Final = 50
COMMANDS: Final = 7
KILLS: Final = 3
MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class Figure:
    """One measured value and its bar: a minimum or a maximum."""

    measurement: str
    name: str
    value: float
    unit: str
    bar: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Return whether the bar is met."""
        return self.value >= self.bar if self.at_least else self.value <= self.bar


def photos() -> list[tuple[str, bytes]]:
    """Make small different photos; scripts/bench measures large ones."""
    samples = sample_photographs()
    made = []
    for number in range(PHOTOS):
        sample = samples[number % len(samples)]
        left, top = number * 7 % (sample.width - 2 * SIDE), number * 5 % (sample.height - 2 * SIDE)
        buffer = io.BytesIO()
        sample.resize((SIDE, SIDE), box=(left, top, left + 2 * SIDE, top + 2 * SIDE)).save(buffer, "JPEG", quality=80)
        made.append((f"photos/{number:08d}.jpg", buffer.getvalue()))
    return made


def pages(bucket: list[tuple[str, bytes]], count: int) -> Iterator[list[ListedObject]]:
    """Make a listing of `count` keys; the first are those of the bucket, so that a producer finds objects."""
    real = [
        ListedObject(key.encode(), hashlib.md5(data, usedforsecurity=False).hexdigest(), len(data))
        for key, data in bucket
    ]
    for first in range(0, count, PAGE):
        yield [
            real[n] if n < len(real) else ListedObject(f"photos/{n:08d}.jpg".encode(), f"{n:032x}", 67_000)
            for n in range(first, min(first + PAGE, count))
        ]


def large_ledger(servers: Servers, wanted: set[str], keys: int) -> Iterator[Figure]:
    """Fill a ledger, and measure queries and a resume on it."""
    with Stack(servers, "large") as stack, Database(stack.settings) as database:
        job = database.run(ledger.jobs.submit, "s3://limits")
        spent = 0.0
        for number, page in enumerate(pages(photos(), keys), 1):
            last = number * PAGE >= keys
            began = time.perf_counter()
            database.run(ledger.listing.add_page, job, page, repeat_no=0, last=last, repeats=1)
            spent += time.perf_counter() - began
        if "keys" in wanted:
            yield Figure("keys", f"{keys:,} keys into the ledger", keys / spent, "keys/s", 10_000, at_least=True)
        if "status" in wanted:
            yield from status(stack, database, job)
        if "resume" in wanted:
            yield resume(stack)


def status(stack: Stack, database: Database, job: int) -> Iterator[Figure]:
    """Query all jobs' progress, in this process and with the command."""

    def ask() -> None:
        database.run(ledger.progress.all_progress)

    def command() -> None:
        arguments = [str(Path(sys.executable).parent / "sluice"), "status", str(job)]
        subprocess.run(arguments, env=stack.environment, check=True, stdout=subprocess.DEVNULL)

    yield Figure(
        "status", "the query of `sluice status`, median", statistics.median(_times(ask, QUERIES)) * 1e3, "ms", 50
    )
    before = _children_seconds()
    clock = statistics.median(_times(command, COMMANDS))
    yield Figure("status", "`sluice status` as a command, median", clock, "s", 1)
    # CPU time, since the machine may be busy with other work.
    spent = (_children_seconds() - before) / COMMANDS
    yield Figure("status", "`sluice status` as a command, processor", spent, "s", 1)


def resume(stack: Stack) -> Figure:
    """Kill a producer with objects pending, start its successor at once, and wait for its first lease."""
    stack.start_workers(consumers=1)
    (producer,) = stack.producers
    _first_lease(producer)
    worst = 0.0
    for _ in range(KILLS):
        began = time.perf_counter()
        producer.kill()
        producer.start()
        _first_lease(producer)
        worst = max(worst, time.perf_counter() - began)
    return Figure("resume", f"kill -9 to the successor's first lease, worst of {KILLS}", worst, "s", 5)


def memory(servers: Servers, sizes: tuple[int, int]) -> Iterator[Figure]:
    """Run a short and a long job with fresh processes each, and compare their peaks."""
    peaks: dict[str, list[float]] = {"producer": [], "consumer": []}
    for size in sizes:
        with Stack(servers, f"memory{size}") as stack, Database(stack.settings) as database:
            stack.start_workers(consumers=1)
            _run(database, repeats=size // PHOTOS)
            for worker in stack.workers:
                peaks[worker.module].append(peak_mib(worker.pid))
    for module, (short, long) in peaks.items():
        for size, peak in zip(sizes, (short, long), strict=True):
            yield Figure("memory", f"{module}, peak in a job of {size:,}", peak, "MiB", 400 * 1e6 / MIB)
        yield Figure("memory", f"{module}, long job / short job", long / short, "", 1.25)


def idle(servers: Servers) -> Iterator[Figure]:
    """Let a producer and a consumer idle for a while after work."""
    with Stack(servers, "idle") as stack, Database(stack.settings) as database:
        stack.start_workers(consumers=1)
        _run(database, repeats=1)
        time.sleep(SETTLE_SECONDS)
        before = {worker.module: _processor_seconds(worker) for worker in stack.workers}
        time.sleep(IDLE_SECONDS)
        for worker in stack.workers:
            share = (_processor_seconds(worker) - before[worker.module]) / IDLE_SECONDS
            yield Figure("idle", f"{worker.module}, share of a core over {IDLE_SECONDS:g} s", share * 100, "%", 2)


def _run(database: Database, repeats: int) -> None:
    job = database.run(ledger.jobs.submit, "s3://limits", repeats=repeats)
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        seen = database.run(ledger.progress.progress, job)
        if seen is not None and seen.state == "done" and seen.done == PHOTOS * repeats:
            return
        if time.monotonic() > deadline or (seen is not None and seen.state in {"done", "failed"}):
            raise SystemExit(f"the job did not end as it should: {seen}")
        time.sleep(0.5)


def _times(call: Callable[[], None], count: int) -> list[float]:
    found = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return found


def _first_lease(producer: Worker) -> None:
    producer.wait_until(lambda: producer.metrics().get("sluice_leased_total", 0) > 0, LIMIT_SECONDS)


def _children_seconds() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def _processor_seconds(worker: Worker) -> float:
    spent = psutil.Process(worker.pid).cpu_times()
    return spent.user + spent.system


def measure(wanted: set[str], keys: int, sizes: tuple[int, int]) -> Iterator[Figure]:
    """Measure the wanted figures."""
    with ExitStack() as held:
        servers = held.enter_context(Servers(say=say))
        servers.start()
        servers.s3.fill("limits", photos())
        if wanted & {"keys", "status", "resume"}:
            yield from large_ledger(servers, wanted, keys)
        if "idle" in wanted:
            yield from idle(servers)
        if "memory" in wanted:
            yield from memory(servers, sizes)


def table(figures: list[Figure]) -> str:
    """Return the table."""
    lines = [f"{'':<52}{'measured':>12}{'bar':>14}"]
    for figure in figures:
        sign = ">=" if figure.at_least else "<="
        met = "" if figure.holds else "   MISSED"
        bar = (
            f"{sign} {figure.bar:,.4g} {figure.unit}"
            if figure.bar < PAGE
            else f"{sign} {figure.bar:,.0f} {figure.unit}"
        )
        value = f"{figure.value:,.0f}" if figure.value >= PAGE else f"{figure.value:.2f}"
        lines.append(f"{figure.name:<52}{value:>12}{bar:>20}{met}")
    return "\n".join(lines)


def say(text: str) -> None:
    """Print progress to standard error."""
    print(f"limits: {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(
        prog="scripts/limits",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: scripts/limits --only memory --only idle",
    )
    parser.add_argument("--only", action="append", choices=NAMES, help="measure this alone; can be repeated")
    parser.add_argument("--keys", type=int, default=1_000_000, help="keys in the ledger (default: %(default)s)")
    parser.add_argument(
        "--sizes",
        type=int,
        nargs=2,
        default=(1_000, 100_000),
        metavar=("SHORT", "LONG"),
        help="the memory jobs' objects",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "bench", help="folder for the JSON")
    arguments = parser.parse_args()
    figures: list[Figure] = []
    with orderly_end():
        for figure in measure(set(arguments.only or NAMES), arguments.keys, tuple(arguments.sizes)):
            say(f"{figure.name}: {figure.value:.4g} {figure.unit}")
            figures.append(figure)
    arguments.output.mkdir(exist_ok=True)
    path = arguments.output / f"limits-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    found = [{**asdict(figure), "holds": figure.holds} for figure in figures]
    path.write_text(json.dumps({"machine": host.machine(), "figures": found}, indent=2) + "\n")
    print("\n".join(f"{key}: {value}" for key, value in host.machine().items()), end="\n\n")
    print(table(figures))
    say(f"written: {path}")
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
