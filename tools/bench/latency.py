"""Measure how soon one picture that is put into a watched prefix has its row; JSON goes to bench/.

One picture at a time, at random moments, so that no listing is met in step. Time runs from the PUT's return until a
query finds the committed row. With `listing` the job's prefix is listed again and again; with `notification` the queue
gets a message of each PUT right after it. `busy`: another job is told, evenly, of so many pictures that they take
--share of the capacity, which is measured before in the same way. Exits with 1 if an idle one misses its goal.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sluice import ledger
from sluice.domain import ListedObject
from sluice.ledger import Database, LedgerCursor
from tools.bench import host
from tools.bench.latency_load import SteadyLoad
from tools.bench.photos import write_photos
from tools.bench.pipeline import wait_for_end
from tools.cache import cache_folder
from tools.stack import ROOT, Servers, Stack, StackError, orderly_end
from tools.stack.queues import QueueServer

BUCKET: Final = "photos"
MODES: Final = ("listing", "notification")
GOAL: Final = {"p50": 0.3, "p99": 1.0}
"""Seconds, idle."""
LOOK_SECONDS: Final = 0.01
PAUSE_SECONDS: Final = 0.6
"""A picture is put after up to so long a pause."""
LATEST_SECONDS: Final = 60.0
SELDOM_SECONDS: Final = 86_400
"""Between two listings of a job that notifications tell."""
CAPACITY_SECONDS: Final = 10.0
WARM_SECONDS: Final = 3.0
"""The beginning of the capacity's time isn't counted: queues fill."""
SPARE_SECONDS: Final = 10.0
"""A busy line may take so much longer than --seconds, because its last picture is waited for."""


@dataclass(frozen=True)
class Waited:
    """One picture: seconds from its PUT until it was listed, and until it had its row."""

    listed: float
    done: float


@dataclass(frozen=True)
class Cell:
    """What was measured in one mode, with one load."""

    mode: str
    is_busy: bool
    pictures: list[Waited]
    told: float
    done: float
    """Pictures a second of the other job: told, and classified."""
    stolen: float


class LatencyBench:
    """The servers, one producer, the consumers, and the jobs on them."""

    def __init__(self, arguments: argparse.Namespace, exits: ExitStack) -> None:
        self._arguments = arguments
        self._random = random.Random(arguments.seed)  # noqa: S311 - chooses moments, guards nothing
        photos = write_photos(cache_folder() / "bench" / f"photos-{arguments.different}", arguments.different)
        self._photos = [path.read_bytes() for path in photos]
        self._servers = exits.enter_context(Servers(models=[arguments.model], say=say))
        self._queues = QueueServer(self._servers.folder, self._servers.leash, self._servers.s3.environment)
        exits.callback(self._queues.stop)
        self._queues.start()
        self._servers.start()
        self._queues.wait_ready()
        self._queue = self._queues.create("written")
        stack = exits.enter_context(Stack(self._servers, cache_entries=0, notifications_queue=self._queue))
        stack.start_workers(consumers=arguments.consumers)
        self._database = exits.enter_context(Database(stack.settings))
        self._servers.s3.fill(BUCKET, ((f"first/{n:06}.jpg", data) for n, data in enumerate(self._photos)))

    def capacity(self) -> float:
        """Return the pictures a second of a job that is told of as many as one that is listed does.

        Being told takes processor time too, so these are more than it can do.
        """
        self._run_job()  # whatever is slow at first
        rate = self._run_job()
        say(f"a job that is listed: {rate:.0f} images/s; another one is told of so many")
        job = self._watch("most/", SELDOM_SECONDS)
        pictures = self._upload("most/", math.ceil(rate * CAPACITY_SECONDS))
        with SteadyLoad(pictures, rate, self._tell) as load:
            time.sleep(WARM_SECONDS)
            began, before = time.monotonic(), self._done(job)
            time.sleep(CAPACITY_SECONDS - WARM_SECONDS)
            found = (self._done(job) - before) / (time.monotonic() - began)
        self._drain(job, load.told)
        return found

    def cells(self, capacity: float) -> Iterator[Cell]:
        """Measure each mode, idle and busy."""
        loads = [load == "busy" for load in self._arguments.loads]
        rate = self._arguments.share * capacity
        other = self._watch("other/", SELDOM_SECONDS)
        say(f"busy: another job is told of {rate:.0f} pictures a second")
        most = math.ceil(rate * (self._arguments.seconds + SPARE_SECONDS)) * sum(loads) * len(self._arguments.modes)
        told = self._upload("other/", most)
        for mode in self._arguments.modes:
            for is_busy in loads:
                yield self._cell(mode, other, told, rate if is_busy else 0.0)

    def _upload(self, prefix: str, count: int) -> Iterator[ListedObject]:
        """Put pictures that nobody is told of yet; return what to tell of them."""
        pictures = list(itertools.islice(zip(itertools.count(), itertools.cycle(self._photos)), count))
        self._servers.s3.fill(BUCKET, ((f"{prefix}{n:06}.jpg", data) for n, data in pictures))
        return iter([_written(f"{prefix}{n:06}.jpg", data) for n, data in pictures])

    def _tell(self, pictures: Sequence[ListedObject]) -> None:
        self._queues.tell(self._queue, BUCKET, pictures)

    def _drain(self, job: int, count: int) -> None:
        """Wait until a job has classified so many more pictures than when it began."""
        deadline = time.monotonic() + LATEST_SECONDS
        while self._done(job) < count:
            if time.monotonic() > deadline:
                raise SystemExit(f"{count - self._done(job)} pictures of job {job} have no row: nothing was measured")
            time.sleep(LOOK_SECONDS)

    def _cell(self, mode: str, other: int, others: Iterator[ListedObject], rate: float) -> Cell:
        prefix = f"{mode}-{'busy' if rate else 'idle'}/"
        seconds = self._arguments.watch_seconds if mode == "listing" else SELDOM_SECONDS
        job = self._watch(prefix, seconds)
        before, clocks = self._done(other), host.clocks()
        with SteadyLoad(others, rate, self._tell) as load:
            deadline = time.monotonic() + self._arguments.seconds
            pictures: list[Waited] = []
            while len(pictures) < self._arguments.pictures and time.monotonic() < deadline:
                time.sleep(self._random.uniform(0, PAUSE_SECONDS))
                pictures.append(self._put(job, f"{prefix}{len(pictures):06}.jpg", is_told=mode == "notification"))
        done = self._done(other) - before
        self._drain(other, before + load.told)  # the next pictures don't wait behind these
        self._database.run(ledger.jobs.change_state, job, "cancelled")
        seconds_of_load = max(load.seconds, 1e-9)
        cell = Cell(mode, rate > 0, pictures, load.told / seconds_of_load, done / seconds_of_load, host.stolen(clocks))
        say(row_of(cell))
        return cell

    def _put(self, job: int, key: str, *, is_told: bool) -> Waited:
        """Put one picture, and wait for its row."""
        data = self._random.choice(self._photos)
        self._servers.s3.client.put_object(Bucket=BUCKET, Key=key, Body=data)
        began = time.monotonic()
        if is_told:
            self._queues.tell(self._queue, BUCKET, [_written(key, data)])
        listed: float | None = None
        while (now := time.monotonic() - began) < LATEST_SECONDS:
            state = self._database.run(_state, job, key.encode())
            now = time.monotonic() - began
            listed = now if state and listed is None else listed
            if state == "done" and listed is not None:
                return Waited(listed, now)
            time.sleep(LOOK_SECONDS)
        raise SystemExit(f"{key} has no row after {LATEST_SECONDS:g} s: its state is {state or 'unlisted'}")

    def _watch(self, prefix: str, seconds: int) -> int:
        """Submit a watched job, and return it once its first listing has ended."""
        job = self._database.run(ledger.jobs.submit, f"s3://{BUCKET}/{prefix}", watch=True, watch_seconds=seconds)
        deadline = time.monotonic() + LATEST_SECONDS
        while not self._database.run(ledger.listing.state, job).complete:
            if time.monotonic() > deadline:
                raise StackError(f"job {job} isn't listed after {LATEST_SECONDS:g} s")
            time.sleep(LOOK_SECONDS)
        return job

    def _run_job(self) -> float:
        job = self._database.run(ledger.jobs.submit, f"s3://{BUCKET}/first/")
        wait_for_end(self._database, job)
        return self._database.run(_rate, job)

    def _done(self, job: int) -> int:
        found = self._database.run(ledger.progress.progress, job)
        return found.done if found else 0


def _written(key: str, data: bytes) -> ListedObject:
    return ListedObject(key.encode(), hashlib.md5(data, usedforsecurity=False).hexdigest(), len(data))


def _state(cursor: LedgerCursor, job: int, key: bytes) -> str:
    """Return an object's state; empty while it has no row."""
    cursor.execute(
        "SELECT state FROM objects WHERE job_id = %s AND repeat_no = 0 AND object_key = %s "
        "ORDER BY generation DESC LIMIT 1",
        (job, key),
    )
    row = cursor.fetchone()
    return str(row["state"]) if row else ""


def _rate(cursor: LedgerCursor, job: int) -> float:
    """Return the predictions a second of a job, between its first and its last one."""
    cursor.execute(
        "SELECT COUNT(*) / (TIMESTAMPDIFF(MICROSECOND, MIN(created), MAX(created)) / 1e6) AS rate FROM predictions "
        "WHERE job_id = %s",
        (job,),
    )
    row = cursor.fetchone()
    return float(row["rate"] or 0) if row else 0.0


def quantile(values: Sequence[float], share: float) -> float:
    """Return the least value that so large a share of all doesn't exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def figures(cell: Cell) -> dict[str, float]:
    """Return a cell's quantiles in seconds."""
    done = [picture.done for picture in cell.pictures]
    return {
        "p50": quantile(done, 0.5),
        "p99": quantile(done, 0.99),
        "most": max(done),
        "listed": quantile([picture.listed for picture in cell.pictures], 0.5),
    }


def row_of(cell: Cell) -> str:
    """Return a line of the table."""
    found = figures(cell)
    load = f"{cell.told:.0f} told, {cell.done:.0f} done" if cell.is_busy else "none"
    return (
        f"{cell.mode:<14}{'busy' if cell.is_busy else 'idle':<6}{len(cell.pictures):>9}{found['p50']:>8.3f}"
        f"{found['p99']:>8.3f}{found['most']:>8.3f}{found['listed']:>11.3f}{load:>22}{cell.stolen:>8.1%}"
    )


def table(cells: Sequence[Cell]) -> str:
    """Return the table."""
    head = (
        f"{'seconds':<14}{'':<6}{'pictures':>9}{'p50':>8}{'p99':>8}{'most':>8}{'listed p50':>11}"
        f"{'other job, images/s':>22}{'stolen':>8}"
    )
    return "\n".join([head, *(row_of(cell) for cell in cells)])


def missed(cells: Sequence[Cell]) -> list[str]:
    """Return which goals were missed."""
    return [
        f"{cell.mode}, idle: {name} is {figures(cell)[name]:.3f} s, more than {most:g}"
        for cell in cells
        for name, most in GOAL.items()
        if not cell.is_busy and figures(cell)[name] > most
    ]


def write(folder: Path, results: Mapping[str, Any]) -> Path:
    """Write the JSON, and return its path."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-latency.json"
    path.write_text(json.dumps(results, indent=2, default=str) + "\n")
    return path


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench latency",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: scripts/bench latency --pictures 40 --seconds 30 --modes notification",
    )
    parser.add_argument("--model", default="efficientnet-lite0", help="archive in the cache (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=100, help="put one by one, at most (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=45, help="for each line, at most (default: %(default)s)")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES, help="default: both")
    parser.add_argument("--loads", nargs="+", choices=("idle", "busy"), default=("idle", "busy"), help="default: both")
    parser.add_argument("--share", type=float, default=0.8, help="of the capacity, if busy (default: %(default)s)")
    parser.add_argument("--watch-seconds", type=int, default=0, help="of the listed job (default: %(default)s)")
    parser.add_argument("--consumers", type=int, default=1, help="consumer processes (default: %(default)s)")
    parser.add_argument("--different", type=int, default=200, help="different photos (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "bench", help="folder for JSON")
    arguments = parser.parse_args()
    with orderly_end(), ExitStack() as exits:
        bench = LatencyBench(arguments, exits)
        capacity = bench.capacity()
        say(f"capacity: {capacity:.0f} images/s")
        cells = list(bench.cells(capacity))
    results = {
        "machine": host.machine(),
        "arguments": vars(arguments),
        "capacity": capacity,
        "cells": [{**asdict(cell), "figures": figures(cell)} for cell in cells],
    }
    print(f"capacity: {capacity:.0f} images/s with {arguments.model}")
    print(table(cells))
    say(f"written: {write(arguments.output, results)}")
    if late := missed(cells):
        raise SystemExit("\n".join(late))


def say(text: str) -> None:
    """Print progress to standard error."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
