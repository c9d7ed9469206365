"""Try arrangements of Sluice on this machine, from S3 to committed row, and say whether the default is the best.

An arrangement is WORKERSxTHREADS/CONSUMERS/BATCH/REQUESTS: TorchServe's processes of the model and threads of each,
consumer processes, images in a batch, and a consumer's requests in flight. Without any named, one part of the default
is changed at a time. They take turns, round by round, each round beginning with another one, so that changes of the
machine's speed affect all of them. Prints a table; JSON goes to bench/.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sluice import capacity
from sluice.settings import read_settings
from tools.bench import host, pipeline
from tools.bench.photos import write_photos
from tools.bench.run import say
from tools.cache import cache_folder
from tools.stack import ROOT, Servers, TorchServe, archive_of, orderly_end

WRITTEN: Final = re.compile(r"([1-9]\d{0,2})x([1-9]\d{0,2})/([1-9]\d?)/([1-9]\d{0,2})/([1-9]\d?)")
NOISE: Final = 1.03
"""Whoever is faster by less, or not in every round, isn't told from the default."""


@dataclass(frozen=True, slots=True)
class TriedArrangement:
    """What is tried."""

    workers: int
    threads: int
    consumers: int
    batch: int
    requests: int

    def __str__(self) -> str:
        return f"{self.workers}x{self.threads}/{self.consumers}/{self.batch}/{self.requests}"

    @classmethod
    def parse(cls, text: str) -> TriedArrangement:
        """Read one."""
        found = WRITTEN.fullmatch(text)
        if not found:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not like 2x1/1/32/2, WORKERSxTHREADS/CONSUMERS/BATCH/REQUESTS"
            )
        return cls(*map(int, found.groups()))


def the_default(archive: Path) -> TriedArrangement:
    """Return what Sluice does here unless told otherwise, with one consumer."""
    chosen = capacity.arrange(capacity.cores(), capacity.memory_bytes(), [archive.stat().st_size])
    settings = read_settings()
    return TriedArrangement(chosen.workers, chosen.threads, 1, settings.batch, settings.requests_in_flight)


def neighbours(default: TriedArrangement, cores: int) -> list[TriedArrangement]:
    """Return the default and what differs from it in one part."""
    pairs = [(count, cores // count) for count in range(1, cores + 1) if cores % count == 0] + [(cores, 2)]
    every = [
        default,
        *(replace(default, workers=workers, threads=threads) for workers, threads in pairs),
        replace(default, consumers=default.consumers + 1),
        *(replace(default, batch=batch) for batch in (default.batch // 2, 2 * default.batch)),
        *(replace(default, requests=requests) for requests in (default.requests + 1, default.requests + 2)),
    ]
    return list(dict.fromkeys(every))


def turns(tried: Sequence[TriedArrangement], rounds: int) -> Iterator[tuple[int, TriedArrangement]]:
    """Yield each arrangement once a round; every round begins with another one."""
    for number in range(rounds):
        first = number % len(tried)
        yield from ((number, each) for each in (*tried[first:], *tried[:first]))


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run them until there is no time for another run."""
    until = time.monotonic() + arguments.seconds
    archive = archive_of(arguments.model)
    default = the_default(archive)
    tried = (
        list(dict.fromkeys([default, *arguments.tried])) if arguments.tried else neighbours(default, capacity.cores())
    )
    files = write_photos(cache_folder() / "bench" / f"photos-{arguments.images}", arguments.images)
    rates: dict[str, list[float]] = {str(each): [] for each in tried}
    with ExitStack() as exits:
        servers = exits.enter_context(Servers(models=[arguments.model], say=say))
        servers.start(servers.database, servers.s3)
        servers.s3.fill("photos", ((path.name, path.read_bytes()) for path in files))
        running = _torchserves(servers, archive, tried, exits)
        longest = 0.0
        for turn, (number, each) in enumerate(turns(tried, arguments.rounds)):
            begun = time.monotonic()
            if begun + longest > until:
                say(f"--seconds {arguments.seconds:g} are over in round {number + 1} of {arguments.rounds}")
                break
            servers.torchserve = running[each.workers, each.threads]
            run = pipeline.run(
                servers, f"sweep{turn}", "photos", arguments.model, consumers=each.consumers,
                repeats=arguments.repeats, batch=each.batch, requests_in_flight=each.requests,
            )  # fmt: skip
            rates[str(each)].append(run.images / run.seconds)
            say(f"round {number + 1} of {arguments.rounds}: {each} {run.images / run.seconds:.1f} images/s")
            longest = max(longest, time.monotonic() - begun)
    shown = {name: value for name, value in vars(arguments).items() if name != "tried"}
    return {"machine": host.machine(), "arguments": shown, "default": str(default), "rates": rates}


def _torchserves(
    servers: Servers, archive: Path, tried: Sequence[TriedArrangement], exits: ExitStack
) -> dict[tuple[int, int], TorchServe]:
    """Start all that are needed: one that is idle takes memory, but no time."""
    made = {}
    for workers, threads in dict.fromkeys((each.workers, each.threads) for each in tried):
        name = f"torchserve-{workers}x{threads}"
        server = TorchServe(servers.folder, servers.leash, [archive], name=name, workers=workers, threads=threads)
        exits.callback(server.stop)
        server.start()
        # One after the other: many that load at once would be slower than TorchServe's own patience.
        server.wait_ready()
        made[workers, threads] = server
    say(f"{len(made)} TorchServes are ready")
    return made


def verdict(default: str, rates: Mapping[str, Sequence[float]]) -> str:
    """Return whether the default is as fast as the best, as far as rounds tell that."""
    own = rates[default]
    paired = {
        name: [theirs / mine for theirs, mine in zip(each, own, strict=False)]
        for name, each in rates.items()
        if name != default and each
    }
    if not own or not paired:
        return "too few runs to compare: give it more --seconds"
    best = max(paired, key=lambda name: statistics.median(paired[name]))
    ratio = statistics.median(paired[best])
    spread = f"{min(paired[best]):.2f} to {max(paired[best]):.2f}"
    told = f"{best} is {ratio:.2f} times as fast (median of {len(paired[best])}, {spread})"
    if ratio > NOISE and min(paired[best]) > 1:
        return f"the default {default} is not the best here: {told}"
    return f"the default {default} is within noise of the best: {told}"


def table(results: Mapping[str, Any]) -> str:
    """Return the table, the fastest first."""
    rates: Mapping[str, list[float]] = results["rates"]
    own = rates[results["default"]]
    lines = [
        *(f"{key}: {value}" for key, value in results["machine"].items()),
        f"model: {results['arguments']['model']}",
    ]
    lines += ["", f"{'arrangement':<20}{'images/s':>10}{'range':>18}{'to default':>12}{'runs':>6}"]
    for name, each in sorted(rates.items(), key=lambda item: -statistics.median(item[1] or [0.0])):
        if not each:
            lines.append(f"{name:<20}{'not run':>10}")
            continue
        ratios = [theirs / mine for theirs, mine in zip(each, own, strict=False)]
        ratio = f"{statistics.median(ratios):.2f}" if ratios else ""
        spread = f"{min(each):.1f} to {max(each):.1f}"
        lines.append(f"{name:<20}{statistics.median(each):>10.1f}{spread:>18}{ratio:>12}{len(each):>6}")
    return "\n".join([*lines, "", verdict(results["default"], rates)])


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench sweep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: scripts/bench sweep --seconds 600 2x1/1/32/2 1x2/1/32/2",
    )
    parser.add_argument("tried", nargs="*", type=TriedArrangement.parse, metavar="ARRANGEMENT", help="to be tried")
    parser.add_argument("--model", default="resnet18-random", help="archive in the cache (default: %(default)s)")
    parser.add_argument("--images", type=int, default=300, help="different photos (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=2, help="how often a run reads them (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="at most (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1200, help="at most, in all (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "bench", help="folder for JSON (default: bench)")
    arguments = parser.parse_args()
    with orderly_end():
        results = measure(arguments)
    arguments.output.mkdir(exist_ok=True)
    path = arguments.output / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-sweep.json"
    path.write_text(json.dumps(results, indent=2, default=str) + "\n")
    print(table(results))
    print(f"bench: written: {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
