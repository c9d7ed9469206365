"""Measure the ledger beside 1, 10, 100 million done rows: how long the same things take, and how much they read.

For each --rows a database is filled on one real server, by SQL, with indexes as commits leave them. Then rounds take
turns over all sizes, each with the ledger's own functions: a page is listed, leased and committed, and everything that
processes and people ask is asked. It prints medians of milliseconds, rows and index entries read, pages looked at and
pages read from disk, and what a row takes, index by index; JSON and a plot go to bench/. It needs the disk that it says
beforehand, in TMPDIR, and removes all at its end.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil

from sluice.ledger import Database, check
from tools.bench import host
from tools.bench.growth_report import plot, table
from tools.bench.growth_rows import GrownLedger, begin, column_bytes, grow, index_bytes, quick
from tools.bench.growth_work import GrowthWork
from tools.stack import ROOT, Servers, Stack, orderly_end

ROWS: Final = (1_000_000, 10_000_000)
ROUNDS: Final = 10
ROW_BYTES: Final = 1_300
"""What a row takes on disk at most, while pages are split, with its share of the server's undo log."""
SERVER_BYTES: Final = 1_500_000_000
"""What the server takes without rows: its log, its system tables, temporary files."""
MIB: Final = 2**20
CHUNK: Final = 128
"""MiB by which servers give themselves more memory."""
TIMEOUT: Final = 3600.0
OPTIONS: Final = ("--innodb-log-file-size=512M", "--innodb-autoinc-lock-mode=2")
"""A log that holds what pages wait for to be written, and inserts that don't wait for each other: MySQL's default."""
POOL: Final = "--loose-innodb-buffer-pool-size-max={}M"
"""MariaDB's newer versions give a running server no more memory than that."""


def main() -> None:
    """Fill, measure, print and write."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: scripts/bench growth --rows 1000000 --rows 100000000 --pool 4096",
    )
    parser.add_argument("--rows", type=_count, action="append", help="done rows, once for each size (1 and 10 million)")
    parser.add_argument("--rounds", type=_count, default=ROUNDS, help="rounds over all sizes (default: %(default)s)")
    parser.add_argument("--pool", type=_count, default=256, help="MiB of the buffer pool (default: %(default)s)")
    parser.add_argument("--fill-pool", type=_count, help="the same while rows are made (a third of the free memory)")
    parser.add_argument("--compressed", action="store_true", help="compress pages to half (ROW_FORMAT=COMPRESSED)")
    parser.add_argument("--no-check", action="store_true", help="leave out `sluice check`, which reads every row")
    parser.add_argument("--output", type=Path, default=ROOT / "bench", help="folder for JSON and plot")
    options = parser.parse_args()
    options.rows = sorted(set(options.rows or ROWS))
    spare = int(psutil.virtual_memory().available / 3 / MIB) // CHUNK * CHUNK
    options.fill_pool = options.fill_pool or max(options.pool, spare)
    with orderly_end(), Servers(models=[], database_options=[*OPTIONS, POOL.format(options.fill_pool)]) as servers:
        refuse_without_room(servers.folder, options.rows)
        servers.start(servers.database)
        results = measure(servers, options)
    options.output.mkdir(exist_ok=True)
    stem = options.output / f"growth-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    stem.with_suffix(".json").write_text(json.dumps(results, indent=2, default=str) + "\n")
    plot(results, stem.with_suffix(".png"))
    print(table(results))
    say(f"written: {stem}.json and .png")


def refuse_without_room(folder: Path, rows: list[int]) -> None:
    """Say how much disk it takes, and end if it isn't there."""
    wanted = sum(rows) * ROW_BYTES + SERVER_BYTES
    free = shutil.disk_usage(folder).free
    said = f"{sum(rows):,} rows take up to {wanted / 1e9:.0f} GB in {folder.parent}"
    if wanted > free:
        raise SystemExit(
            f"{said}, which has {free / 1e9:.0f} GB free: give fewer --rows, or set TMPDIR to a larger disk"
        )
    say(f"{said}, which has {free / 1e9:.0f} GB free")


def measure(servers: Servers, options: argparse.Namespace) -> dict[str, Any]:
    """Fill a database for each size, and measure them in turn."""
    stacks = {rows: Stack(servers, f"growth_{rows}", database_timeout=TIMEOUT) for rows in options.rows}
    grown: dict[int, GrownLedger] = {}
    for rows, stack in stacks.items():
        with stack:  # creates the tables; it has no processes
            pass
        with quick(stack.settings, options.fill_pool * MIB, options.pool * MIB):
            grown[rows] = begin(stack.settings, compressed=options.compressed)
            grow(grown[rows], rows, say)
        say(f"{rows:,} rows made in {grown[rows].seconds:.0f} s")
    results: dict[str, Any] = {"machine": host.machine(), "arguments": vars(options), "sizes": []}
    works = {rows: GrowthWork(each, Database(each.settings)) for rows, each in grown.items()}
    clocks = host.clocks()
    for number in range(options.rounds + 1):
        say(f"round {number} of {options.rounds}")
        for work in works.values():
            work.round()
            if number == 0:  # brings in what a running system has in memory
                work.found.clear()
    stolen = host.stolen(clocks)
    for rows, work in works.items():
        with Database(grown[rows].settings) as database:
            results["sizes"].append(
                {
                    "rows": rows,
                    "fill_seconds": grown[rows].seconds,
                    "check_seconds": None if options.no_check else _checked(database, rows),
                    "index_bytes": index_bytes(database),
                    "column_bytes": column_bytes(database),
                    "costs": {name: [asdict(cost) for cost in found] for name, found in work.found.items()},
                }
            )
    return {**results, "stolen": stolen}


def _checked(database: Database, rows: int) -> float:
    """Return how long the check takes that reads every row; end if it finds anything."""
    begun = time.monotonic()
    breaches = database.run(check.check)
    if breaches:
        raise SystemExit(f"the ledger of {rows:,} rows breaks {breaches[0]}")
    return time.monotonic() - begun


def _count(text: str) -> int:
    number = int(text.replace("_", ""))
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is none: give 1 or more")
    return number


def say(text: str) -> None:
    """Print progress to standard error."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
