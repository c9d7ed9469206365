"""Measure what one producer can deliver, with consumers that only answer, and what heartbeats cost it.

A real producer lists a bucket into a real ledger, and streams it to 1, 10, 100 and 1,000 consumers, which are simulated
in a few processes: they speak the protocol and answer at once. Without --commit nothing is committed, so that the same
rows are streamed again and again. S3 server, database and consumers share this machine's cores with the producer.
Therefore the tables show what came through by the clock, and what a core of the producer can do: images for each second
of processor time that its process took, all its threads included.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import psutil

from sluice import ledger
from sluice.ledger import Database
from tools.bench import host
from tools.bench.crowd import ConsumerCrowd, silence_of
from tools.bench.pipeline import peak_mib
from tools.stack import Servers, Stack, Worker, orderly_end
from tools.stack.workers import start_all

EXAMPLE: Final = "example: scripts/bench ceiling --delivery inline --bytes 500000 --consumers 1 100"
BUCKET: Final = "ceiling"
DELIVERIES: Final = ("reference", "inline")
POLL_SECONDS: Final = 0.1
LIMIT_SECONDS: Final = 600.0
WARM_SECONDS: Final = 1.5
CREDIT: Final = 8192
LEAST_WINDOW: Final = 4
MB: Final = 1e6


@dataclass(frozen=True)
class ProducerUse:
    """What a producer had used at a moment."""

    clock: float
    processor: float
    mib: float

    @classmethod
    def of(cls, producer: Worker) -> ProducerUse:
        """Read it now."""
        process = psutil.Process(producer.pid)
        spent = process.cpu_times()
        return cls(time.monotonic(), spent.user + spent.system, process.memory_info().rss / 2**20)


def main() -> None:
    """Start servers, measure each delivery with each number of consumers, then heartbeats alone; print tables."""
    options = _options()
    clocks = host.clocks()
    with orderly_end(), ExitStack() as exits:
        servers = exits.enter_context(Servers())
        servers.start(servers.database, servers.s3)
        servers.s3.fill(BUCKET, ((f"{place:06}", os.urandom(options.bytes)) for place in range(options.objects)))
        print(f"{options.objects:,} objects of {options.bytes:,} bytes, {os.cpu_count()} cores")
        for delivery in options.delivery:
            with Stack(servers, f"ceiling_{delivery}", heartbeat=options.heartbeat) as stack:
                stream(stack, delivery, options)
        if options.idle:
            with Stack(servers, "ceiling_idle", heartbeat=options.heartbeat) as stack:
                rest(stack, options)
    print(f"\nThe host gave {host.stolen(clocks):.0%} of the processors to others meanwhile.")


def stream(stack: Stack, delivery: str, options: argparse.Namespace) -> None:
    """Measure one kind of delivery with each number of consumers."""
    producer = stack.add_producer(delivery=delivery, inline_max_bytes=max(options.bytes, 1))
    start_all(producer)
    with Database(stack.settings) as database:
        before = ProducerUse.of(producer)
        job = list_job(database, options.rows // options.objects)
        spent = ProducerUse.of(producer).processor - before.processor
        print(
            f"\n{delivery}: {options.rows:,} rows listed with {1e6 * spent / options.rows:.0f} us of processor each\n"
        )
        print(
            "| consumers | images/s | MB/s | the producer's core | images/s a core | MB/s a core | PONG p99, longest |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for number, consumers in enumerate(options.consumers):
            if options.commit and number:
                job = list_job(database, options.rows // options.objects)
            with _crowd(stack, consumers, options) as crowd:
                print(_measured(crowd, producer, consumers, options.seconds), flush=True)
            if options.commit:
                database.run(ledger.jobs.change_state, job, "cancelled")
    print(f"\nThe producer's memory was {peak_mib(producer.pid):.0f} MiB at most.")


def _measured(crowd: ConsumerCrowd, producer: Worker, consumers: int, seconds: float) -> str:
    """Return a row of the table."""
    time.sleep(WARM_SECONDS)
    first, before = crowd.counts(), ProducerUse.of(producer)
    time.sleep(seconds)
    last, after = crowd.counts(), ProducerUse.of(producer)
    if last.lost:
        raise SystemExit(f"the producer ended {last.lost} sessions\n{producer.log_tail()}")
    images, mb = last.images - first.images, (last.bytes - first.bytes) / MB
    took, spent = after.clock - before.clock, max(after.processor - before.processor, 0.01)
    waits = last.silences[len(first.silences) :]
    return (
        f"| {consumers:,} | {images / took:,.0f} | {mb / took:,.0f} | {spent / took:.0%} | {images / spent:,.0f} "
        f"| {mb / spent:,.0f} | {_answered_in(waits)} |"
    )


def _answered_in(waits: Sequence[float]) -> str:
    """Return how long consumers waited for PONG: nearly all of them, and the one that waited longest."""
    return f"{1000 * silence_of(waits, 0.99):.0f} ms, {1000 * max(waits, default=0.0):.0f} ms"


def rest(stack: Stack, options: argparse.Namespace) -> None:
    """Measure what consumers cost that have nothing to do."""
    producer = stack.add_producer()
    start_all(producer)
    time.sleep(WARM_SECONDS)
    print("\n| idle consumers | the producer's core | memory, MiB | PONG p99, longest |")
    print("| --- | --- | --- | --- |")
    with ExitStack() as exits:
        for consumers in (0, *options.consumers):
            exits.close()
            crowd = exits.enter_context(_crowd(stack, consumers, options)) if consumers else None
            time.sleep(WARM_SECONDS)
            known = len(crowd.counts().silences) if crowd else 0
            before = ProducerUse.of(producer)
            time.sleep(options.seconds)
            after = ProducerUse.of(producer)
            waits = crowd.counts().silences[known:] if crowd else []
            share = (after.processor - before.processor) / (after.clock - before.clock)
            longest = _answered_in(waits) if waits else ""
            print(f"| {consumers:,} | {share:.1%} | {after.mib:.0f} | {longest} |", flush=True)


def list_job(database: Database, repeats: int) -> int:
    """Start a job, and wait until it is listed; nothing is sent, as no consumer is there."""
    job = database.run(ledger.jobs.submit, f"s3://{BUCKET}", repeats=repeats)
    deadline = time.monotonic() + LIMIT_SECONDS
    while not ((seen := database.run(ledger.progress.progress, job)) and seen.listing_complete):
        if time.monotonic() > deadline or (seen and seen.state == "failed"):
            raise SystemExit(f"the job wasn't listed: {seen}")
        time.sleep(POLL_SECONDS)
    return job


def _crowd(stack: Stack, consumers: int, options: argparse.Namespace) -> ConsumerCrowd:
    return ConsumerCrowd(
        stack.settings,
        consumers,
        # As that of real consumers, it follows each one's speed.
        window=max(LEAST_WINDOW, min(options.window, CREDIT // consumers)),
        processes=options.processes,
        commits=options.commit,
    )


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench ceiling",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--consumers", type=int, nargs="+", default=[1, 10, 100, 1000], help="connected (default: 1 10 100 1000)")
    add("--delivery", nargs="*", choices=DELIVERIES, default=DELIVERIES, help="default: both, in turn; empty: none")
    add("--seconds", type=float, default=8.0, help="of each measurement (default: %(default)s)")
    add("--objects", type=int, default=500, help="in the bucket (default: %(default)s)")
    add("--bytes", type=int, default=67_000, help="of each object (default: %(default)s)")
    add("--rows", type=int, default=50_000, help="of the job, which lists the bucket repeatedly (default: %(default)s)")
    add("--window", type=int, default=256, help="objects that a consumer holds at most (default: %(default)s)")
    add("--processes", type=int, default=2, help="that simulate consumers (default: %(default)s)")
    add("--heartbeat", type=float, default=2.0, help="seconds between PINGs (default: %(default)s)")
    add("--commit", action="store_true", help="commit predictions, as consumers do; each number has a job of its own")
    add("--no-idle", dest="idle", action="store_false", help="don't measure heartbeats alone")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
