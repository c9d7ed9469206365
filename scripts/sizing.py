"""Print what jobs of a million, a hundred million and a billion images need, computed from what scripts/bench measured.

Every figure is a measured one, or follows from measured ones by the line of arithmetic that stands with it. Nothing is
known here of a GPU: measure one of your TorchServe pods and give --torchserve-rate (docs/production.md says how).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
SIZES: Final = {"1 M": 1_000_000, "100 M": 100_000_000, "1 B": 1_000_000_000}
HOURS: Final = (1.0, 24.0, 168.0)
SHARE: Final = 0.7
"""Of what a part can do, what is planned with: the CPU that the chart's HPA aims at."""

# Facts of the code. A test holds the first three against it.
REQUESTS_IN_FLIGHT: Final = 2
PREDICTION_REQUESTS: Final = 2
PRODUCER_CONNECTIONS: Final = 4
CONSUMER_SURGE: Final = 1.25
OTHER_CONNECTIONS: Final = 10
PHOTO_BYTES: Final = 67_000
PIXEL_BYTES: Final = 224 * 224 * 3
# Measured for docs/ledger.md and docs/production.md: a row of `objects` with its indexes, and one of `predictions`.
OBJECT_ROW: Final = 210
PREDICTION_ROW: Final = 280
KEYS: Final = "keys"


class NoFigures(Exception):
    """Raised when there is nothing to compute from."""


@dataclass(frozen=True)
class Cost:
    """Processor milliseconds an image: the median of the runs, and the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, runs: Sequence[float]) -> Cost:
        """Sum up runs."""
        if not statistics.median(runs) > 0:
            raise ValueError("a part took no processor time: measure more images")
        return cls(statistics.median(runs), min(runs), max(runs))

    @property
    def per_core(self) -> float:
        """How many images a second keep one core busy."""
        return 1000 / self.median

    def __str__(self) -> str:
        return f"{self.median:.2f} ms of processor an image ({self.least:.2f} to {self.most:.2f})"


@dataclass(frozen=True)
class Measured:
    """What one result of scripts/bench says of each part."""

    machine: str
    model: str
    rate: float
    rate_without_model: float
    consumer: Cost
    producer: Cost
    database: Cost
    torchserve: Cost
    commit: float
    """Milliseconds on the clock a row, one connection alone."""
    keys: float | None
    """Keys a second that one listing brings into the ledger."""

    @classmethod
    def read(cls, bench: Path, limits: Path | None) -> Measured:
        """Read a result of scripts/bench, and one of scripts/limits if there is one."""
        try:
            found = json.loads(bench.read_text())
            rounds, without = found["rounds"], found["noop"]
            # What the model costs stands in the rounds with it; the other parts do the same work in all runs.
            both = [*rounds, *without]
            return cls(
                machine=found["machine"]["processor"],
                model=found["arguments"]["model"],
                rate=statistics.median(entry["sluice"] for entry in rounds),
                rate_without_model=statistics.median(entry["rate"] for entry in without),
                consumer=Cost.of([_of_parts(entry, "consumer-") for entry in both]),
                producer=Cost.of([_of_parts(entry, "producer-") for entry in both]),
                database=Cost.of([_of_parts(entry, "database") for entry in both]),
                torchserve=Cost.of([_of_parts(entry, "torchserve") for entry in rounds]),
                commit=next(stage["wall"] for stage in found["stages"] if stage["name"] == "commit"),
                keys=_keys(limits) if limits else None,
            )
        except (OSError, ValueError, KeyError, TypeError, StopIteration, statistics.StatisticsError) as error:
            raise NoFigures(f"{bench} is no result of scripts/bench: {error!r}") from error


@dataclass(frozen=True)
class Plan:
    """What one job needs to be through in so many hours."""

    images: int
    hours: float
    rate: float
    pods: int
    consumers: int
    consumer_cores: float
    shards: int
    database_cores: float

    @classmethod
    def of(cls, measured: Measured, images: int, hours: float, per_pod: float) -> Plan:
        """Compute it; `per_pod` are the images a second of one TorchServe pod."""
        rate = images / (hours * 3600)
        pods = math.ceil(rate / (SHARE * per_pod))
        busy = rate / (SHARE * measured.consumer.per_core)
        return cls(
            images=images,
            hours=hours,
            rate=rate,
            pods=pods,
            consumers=max(math.ceil(busy), math.ceil(pods * PREDICTION_REQUESTS / REQUESTS_IN_FLIGHT)),
            consumer_cores=busy,
            shards=math.ceil(rate / (SHARE * measured.producer.per_core)),
            database_cores=rate / (SHARE * measured.database.per_core),
        )

    @property
    def connections(self) -> int:
        """How many connections the database must take."""
        return PRODUCER_CONNECTIONS * self.shards + math.ceil(CONSUMER_SURGE * self.consumers) + OTHER_CONNECTIONS


def _of_parts(entry: dict[str, Any], name: str) -> float:
    """Sum what the processes of one kind took: consumer-0, consumer-1 and so on."""
    found = [cost for part, cost in entry["cpu_ms"].items() if part.startswith(name)]
    if not found:
        raise KeyError(name)
    return float(sum(found))


def _keys(limits: Path) -> float:
    try:
        figures = json.loads(limits.read_text())["figures"]
        return float(next(figure["value"] for figure in figures if figure["measurement"] == KEYS))
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise NoFigures(f"{limits} is no result of scripts/limits with its keys: {error!r}") from error


def newest(folder: Path) -> tuple[Path, Path | None]:
    """Find the newest result of scripts/bench, and the newest of scripts/limits that counted keys."""
    bench = sorted(folder.glob("[0-9]*.json"))
    if not bench:
        raise NoFigures(f"no result of scripts/bench in {folder}: run it first, or name one")
    limits = [path for path in sorted(folder.glob("limits-*.json")) if f'"{KEYS}"' in path.read_text()]
    return bench[-1], limits[-1] if limits else None


def parts(measured: Measured, cores: float, rate: float | None) -> list[list[str]]:
    """Make the table of what one of each part can do."""
    per_core = f"{measured.torchserve.per_core:,.1f} images/s a core"
    per_pod = f"{_per_pod(measured, cores, None):,.0f} images/s a pod of {cores:g} cores"
    torchserve = [["TorchServe", str(measured.torchserve), f"{per_core}, {per_pod}", "`torchserve.replicas`"]]
    if rate is not None:
        torchserve = [["TorchServe", "`--torchserve-rate`", f"{rate:,.0f} images/s a pod", "`torchserve.replicas`"]]
    rows = [
        ["part", "measured", "is full at", "then set"],
        ["consumer", str(measured.consumer), f"{measured.consumer.per_core:,.0f} images/s a core", "more consumers"],
        *torchserve,
        ["producer", str(measured.producer), f"{measured.producer.per_core:,.0f} images/s", "`producer.shards`"],
        [
            "database",
            str(measured.database),
            f"{measured.database.per_core:,.0f} rows/s a core",
            "a larger instance",
        ],
        [
            "one connection",
            f"{measured.commit:.3f} ms on the clock a row, 256 a transaction",
            f"{1000 / measured.commit:,.0f} rows/s",
            "more consumers: each has one",
        ],
    ]
    if measured.keys is not None:
        rows.append(
            ["one listing", "a thousand keys a transaction", f"{measured.keys:,.0f} keys/s", "a job for each prefix"]
        )
    return rows


def plans(measured: Measured, hours: Sequence[float], per_pod: float) -> list[list[str]]:
    """Make the table of what each size needs."""
    made = [Plan.of(measured, images, within, per_pod) for images, within in zip(SIZES.values(), hours, strict=True)]

    def row(name: str, sum_up: str, cell: Callable[[Plan], str]) -> list[str]:
        return [name, sum_up, *(cell(plan) for plan in made)]

    rows = [
        ["images", "arithmetic", *SIZES],
        row("hours", "chosen: `--hours`", lambda plan: f"{plan.hours:g}"),
        row("images/s", "images / hours / 3,600", lambda plan: f"{plan.rate:,.0f}"),
        row(
            "`torchserve.replicas`",
            f"images/s / ({SHARE:g} x {per_pod:,.1f})",
            lambda plan: f"{plan.pods:,}",
        ),
        row(
            "`consumer.replicas` or `maxReplicas`",
            f"images/s / ({SHARE:g} x {measured.consumer.per_core:,.0f}), and no fewer than TorchServe pods",
            lambda plan: f"{plan.consumers:,}",
        ),
        row(
            "cores for all consumers",
            f"images/s / ({SHARE:g} x {measured.consumer.per_core:,.0f})",
            lambda plan: f"{plan.consumer_cores:,.1f}",
        ),
        row(
            "`producer.shards`",
            f"images/s / ({SHARE:g} x {measured.producer.per_core:,.0f})",
            lambda plan: f"{plan.shards:,}",
        ),
        row(
            "cores of the database",
            f"images/s / ({SHARE:g} x {measured.database.per_core:,.0f})",
            lambda plan: f"{plan.database_cores:,.1f}",
        ),
        row(
            "`max_connections`, at least",
            f"{PRODUCER_CONNECTIONS} x shards + {CONSUMER_SURGE:g} x consumers + {OTHER_CONNECTIONS}",
            lambda plan: f"{plan.connections:,}",
        ),
        row(
            "ledger, GB",
            f"images x ({OBJECT_ROW} + {PREDICTION_ROW}) bytes",
            lambda plan: f"{plan.images * (OBJECT_ROW + PREDICTION_ROW) / 1e9:,.1f}",
        ),
        row(
            "MB/s from S3, and again to consumers",
            f"images/s x {PHOTO_BYTES:,} bytes, the mean here",
            lambda plan: f"{plan.rate * PHOTO_BYTES / 1e6:,.0f}",
        ),
        row(
            "MB/s to TorchServe",
            f"images/s x {PIXEL_BYTES:,} bytes (224 x 224 x 3)",
            lambda plan: f"{plan.rate * PIXEL_BYTES / 1e6:,.0f}",
        ),
    ]
    if (keys := measured.keys) is not None:
        rows.append(
            row(
                "hours that one listing takes, at least",
                f"images / {keys:,.0f} / 3,600",
                lambda plan: f"{plan.images / keys / 3600:,.2g}",
            )
        )
    return rows


def markdown(rows: list[list[str]]) -> str:
    """Write a table."""
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, f"|{' --- |' * len(rows[0])}", *body])


def report(measured: Measured, hours: Sequence[float], cores: float, rate: float | None) -> str:
    """Write all of it."""
    whole = (
        f"Measured on {measured.machine}, which everything shared: {measured.rate:.1f} images/s with {measured.model}\n"
        f"on CPU, {measured.rate_without_model:.0f} with a model that computes nothing."
    )
    planned = f"Planned with {SHARE:.0%} of that, the CPU that the chart's HPA aims at:"
    if rate is None:
        planned = f"No GPU was measured: TorchServe's figures are a CPU's. {planned}"
    tables = (markdown(parts(measured, cores, rate)), markdown(plans(measured, hours, _per_pod(measured, cores, rate))))
    return "\n\n".join([whole, tables[0], planned, tables[1]])


def _per_pod(measured: Measured, cores: float, rate: float | None) -> float:
    return rate if rate is not None else cores * measured.torchserve.per_core


def _above_zero(text: str) -> float:
    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def main(words: Sequence[str] | None = None) -> int:
    """Read, compute, print."""
    parser = argparse.ArgumentParser(
        prog="scripts/sizing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: scripts/sizing --hours 1 12 72 --torchserve-rate 900",
    )
    parser.add_argument("bench", type=Path, nargs="?", help="JSON of scripts/bench (default: the newest in bench/)")
    parser.add_argument("--limits", type=Path, help="JSON of scripts/limits, for the listing's speed")
    parser.add_argument(
        "--hours",
        type=_above_zero,
        nargs=len(SIZES),
        default=HOURS,
        metavar=tuple(size.replace(" ", "") for size in SIZES),
        help="how long each size may take (default: %(default)s)",
    )
    parser.add_argument(
        "--torchserve-rate", type=_above_zero, metavar="IMAGES", help="images/s that you measured of one TorchServe pod"
    )
    parser.add_argument(
        "--pod-cores", type=_above_zero, default=2.0, help="cores of a TorchServe pod on CPU (default: %(default)s)"
    )
    arguments = parser.parse_args(words)
    try:
        bench, limits = (arguments.bench, None) if arguments.bench else newest(ROOT / "bench")
        measured = Measured.read(bench, arguments.limits or limits)
    except NoFigures as error:
        print(f"scripts/sizing: {error}", file=sys.stderr)
        return 2
    print(report(measured, arguments.hours, arguments.pod_cores, arguments.torchserve_rate))
    return 0


if __name__ == "__main__":
    sys.exit(main())
