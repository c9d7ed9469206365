"""Measure what each process spends on an image besides the network: processor time, with a model and without one.

With --against, producer and consumer of another checkout take turns with this one's, on the same servers, so a machine
that changes its speed changes it for both. With --flame, py-spy watches consumer and producer in one more run.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from tools.bench import flame, host, pipeline
from tools.bench.photos import write_photos
from tools.cache import cache_folder
from tools.stack import ROOT, Servers, Stack, StackError, orderly_end

BUCKET: Final = "photos"
NETWORK: Final = "torchserve (python)"
"""With a model its time is mostly the network's; without one it is all that isn't the network."""
SAMPLES_A_SECOND: Final = 400
WATCHED_SECONDS: Final = 600
WIDTH: Final = 34

Cost = Mapping[str, float]
"""Milliseconds of a processor for an image, by process."""


def say(text: str) -> None:
    """Print progress to standard error."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def measure(arguments: argparse.Namespace) -> tuple[dict[str, list[Cost]], float]:
    """Return the cost of each run by model and checkout, and the share of time that the host gave to others."""
    files = write_photos(cache_folder() / "bench" / f"photos-{arguments.images}", arguments.images)
    repeats = {arguments.model: arguments.repeats, "noop": arguments.noop_repeats}
    checkouts = {"here": ROOT} | ({"there": arguments.against} if arguments.against else {})
    found: dict[str, list[Cost]] = {f"{model} {name}": [] for model in repeats for name in checkouts}
    with Servers(models=list(repeats), say=say) as servers:
        servers.start()
        servers.s3.fill(BUCKET, ((path.name, path.read_bytes()) for path in files))
        say("a run that isn't counted: Java compiles")
        pipeline.run(servers, "first", BUCKET, "noop", consumers=1, repeats=arguments.noop_repeats)
        clocks = host.clocks()
        for number in range(arguments.rounds):
            for place, model in enumerate(repeats):
                for name in sorted(checkouts, reverse=bool(number % 2)):
                    say(f"round {number + 1} of {arguments.rounds}: {model} {name}")
                    run = pipeline.run(
                        servers,
                        f"run{number}_{place}_{name}",
                        BUCKET,
                        model,
                        consumers=1,
                        repeats=repeats[model],
                        variables=_code_of(checkouts[name]),
                    )
                    each = {part: 1000 * seconds / run.images for part, seconds in run.cpu.items()}
                    found[f"{model} {name}"].append(each)
        stolen = host.stolen(clocks)
        if arguments.flame:
            say("py-spy watches a consumer and a producer")
            watchers: dict[str, subprocess.Popen[bytes]] = {}
            pipeline.run(
                servers,
                "watched",
                BUCKET,
                arguments.model,
                consumers=1,
                repeats=arguments.repeats,
                started=partial(_watch, folder=arguments.flame, watchers=watchers),
            )
            for module, watcher in watchers.items():
                watcher.wait(WATCHED_SECONDS)
                _draw(arguments.flame / f"{module}.txt", f"python -m {module}, {arguments.model}")
    return found, stolen


def _code_of(checkout: Path) -> dict[str, str]:
    """Return the variables by which Python takes the packages from a checkout, and not from the working folder."""
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(checkout)}


def _watch(stack: Stack, folder: Path, watchers: dict[str, subprocess.Popen[bytes]]) -> None:
    """Start py-spy for each process; it ends with it."""
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if program is None:
        raise StackError("no py-spy: install it beside this Python (uv pip install py-spy), or leave --flame out")
    folder.mkdir(parents=True, exist_ok=True)
    for worker in stack.workers:
        options = ["--format", "raw", "--rate", SAMPLES_A_SECOND, "--duration", WATCHED_SECONDS, "--pid", worker.pid]
        output = folder / f"{worker.module}.txt"
        command = [program, "record", *map(str, options), "--output", str(output)]
        watchers[worker.module] = subprocess.Popen(command, stdin=subprocess.DEVNULL)


def _draw(stacks: Path, title: str) -> None:
    """Draw the stacks that py-spy wrote, beside them."""
    picture = stacks.with_suffix(".svg")
    picture.write_text(flame.draw(flame.read_stacks(stacks.read_text(encoding="utf-8")), title), encoding="utf-8")
    say(f"drawn: {picture}")


def table(found: Mapping[str, list[Cost]], stolen: float) -> str:
    """Return the medians, and the sums of all but the network."""
    parts = list(dict.fromkeys(part for runs in found.values() for each in runs for part in each))
    lines = [f"{'processor ms an image, median':<{WIDTH}}" + "".join(f"{name:>26}" for name in found)]
    for part in parts:
        values = [statistics.median(each[part] for each in runs) for runs in found.values()]
        lines.append(f"  {part:<{WIDTH - 2}}" + "".join(f"{value:>26.3f}" for value in values))
    lines.append(
        f"  {'all but ' + NETWORK:<{WIDTH - 2}}" + "".join(f"{_outside(runs):>26.3f}" for runs in found.values())
    )
    lines.append(f"processors' time that the host gave to others: {stolen:.1%}")
    return "\n".join(lines)


def _outside(runs: list[Cost]) -> float:
    return statistics.median(sum(value for part, value in each.items() if part != NETWORK) for each in runs)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="scripts/bench processor", description=__doc__)
    parser.add_argument("--model", default="resnet18-random", help="archive in the cache (default: %(default)s)")
    parser.add_argument("--images", type=int, default=200, help="different photos (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=4, help="how often a run reads them (default: %(default)s)")
    parser.add_argument("--noop-repeats", type=int, default=12, help="the same without a model (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each (default: %(default)s)")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="another checkout to compare with")
    parser.add_argument("--flame", type=Path, metavar="FOLDER", help="write flame graphs there")
    arguments = parser.parse_args()
    with orderly_end():
        found, stolen = measure(arguments)
    if arguments.rounds:
        print(table(found, stolen))


if __name__ == "__main__":
    main()
