"""Measure what the gateway adds to TorchServe's own answer for one person at a time, and what a commit costs at least.

With --against, a gateway of another checkout takes turns with this one's: same servers, same photos, other bytes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import requests

from sluice.ledger import Database, LedgerCursor
from tools.bench import host
from tools.bench.photos import write_photos
from tools.cache import cache_folder
from tools.load.alone import TIMEOUT, WARM_UP
from tools.load.pictures import JPEG, distinct, pictures
from tools.load.run import PHOTOS, PREDICTIONS, seed
from tools.stack import ROOT, Servers, Stack, orderly_end, start_all

DIRECT: Final = "TorchServe"
COMMITS: Final = 300
FLUSHES: Final = {1: "written to disk before it is answered", 2: "left to the system", 0: "left to the server"}


def say(text: str) -> None:
    """Print progress to standard error."""
    print(f"load: {text}", file=sys.stderr, flush=True)


def ask_in_turns(urls: Mapping[str, str], photos: Path, times: int) -> dict[str, list[float]]:
    """Return seconds of each answer to new pictures, and of each gateway for the same picture once more.

    Who is asked first changes each time. Gateways are given other bytes each, since they share what they know.
    """
    found: dict[str, list[float]] = {name: [] for name in urls}
    found |= {f"{name}, known": [] for name in urls if name != DIRECT}
    mark = seed()
    with requests.Session() as session:
        for number, photo in zip(range(WARM_UP + times), pictures(photos), strict=False):
            names = list(urls)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                data = distinct(photo, f"{mark} {number} {name}")
                for shown in (name, f"{name}, known")[: 1 if name == DIRECT else 2]:
                    began = time.perf_counter()
                    answer = session.post(urls[name], data=data, headers=JPEG, timeout=TIMEOUT)
                    found[shown].append(time.perf_counter() - began)
                    answer.raise_for_status()
    return {name: seconds[WARM_UP:] for name, seconds in found.items()}


def commits(database: Database) -> dict[int, float]:
    """Return the median seconds of a transaction that inserts one row, by innodb_flush_log_at_trx_commit."""
    database.run(_do, "CREATE TABLE floor_rows (id INT AUTO_INCREMENT KEY, said VARCHAR(99))")
    found: dict[int, float] = {}
    for flush in (*FLUSHES, 1):
        database.run(_do, f"SET GLOBAL innodb_flush_log_at_trx_commit = {flush}")
        seconds = []
        for _ in range(COMMITS):
            began = time.perf_counter()
            database.run(_do, "INSERT INTO floor_rows (said) VALUES ('as little as there can be')")
            seconds.append(time.perf_counter() - began)
        found.setdefault(flush, statistics.median(seconds))
    return found


def _do(cursor: LedgerCursor, statement: str) -> None:
    cursor.execute(statement)


def measure(arguments: argparse.Namespace) -> str:
    """Ask everybody, and return the table."""
    folder = cache_folder() / "bench" / f"photos-{PHOTOS}"
    write_photos(folder, PHOTOS)
    checkouts = {"gateway": ROOT} | ({"gateway there": arguments.against} if arguments.against else {})
    with Servers(models=[arguments.model], say=say) as servers:
        servers.start()
        with Stack(servers, "load") as stack:
            urls = {DIRECT: f"{servers.torchserve.address}/predictions/{arguments.model}"}
            for name, checkout in checkouts.items():
                gateway = stack.add_gateway(gateway_anonymous="user", gateway_rate=0)
                gateway.variables = {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(checkout)}
                urls[name] = gateway.url + PREDICTIONS
            start_all(*stack.gateways)
            say(f"one person at a time, {arguments.pictures} pictures")
            clocks = host.clocks()
            found = ask_in_turns(urls, folder, arguments.pictures)
            stolen = host.stolen(clocks)
            say("commits of one row")
            with Database(stack.settings) as database:
                floors = commits(database)
    return table(found, floors, stolen)


def table(found: Mapping[str, list[float]], floors: Mapping[int, float], stolen: float) -> str:
    """Return the figures as a table."""
    lines = [f"{'ms':<34}{'p50':>8}{'p95':>8}{'p50 beyond TorchServe':>24}"]
    for name, seconds in found.items():
        beyond = statistics.median(ours - theirs for ours, theirs in zip(seconds, found[DIRECT], strict=True))
        p95 = statistics.quantiles(seconds, n=20)[-1]
        lines.append(
            f"  {name:<32}{1000 * statistics.median(seconds):>8.1f}{1000 * p95:>8.1f}"
            + ("" if name == DIRECT else f"{1000 * beyond:>24.1f}")
        )
    lines.append("a transaction of one row, ms, the log is")
    lines += [f"  {FLUSHES[flush]:<40}{1000 * seconds:>8.2f}" for flush, seconds in floors.items()]
    lines.append(f"processors' time that the host gave to others: {stolen:.1%}")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="scripts/load latency", description=__doc__)
    parser.add_argument("--pictures", type=int, default=200, help="new pictures for each (default: %(default)s)")
    parser.add_argument("--model", default="efficientnet-lite0", help="archive in the cache (default: %(default)s)")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="another checkout to compare with")
    arguments = parser.parse_args()
    with orderly_end():
        print(measure(arguments))


if __name__ == "__main__":
    main()
