"""Measure Sluice on this machine and print a table; JSON and a plot go to bench/.

In one run, on the same photos: each stage alone, a bare in-process loop, a plain client that sends one JPEG per
request, Sluice from S3 to committed row, and Sluice with a model that computes nothing. They take turns, so that
changes of the machine's speed affect all of them. Predictions must be equal.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from sluice import ledger
from sluice.images import Preprocessing
from sluice.ledger import Database
from tools.bench import host, pipeline, plain, stages
from tools.bench.photos import write_photos
from tools.bench.report import in_rounds, plot, table
from tools.bench.rounds import part_of_json
from tools.cache import cache_folder
from tools.stack import ROOT, Servers, Stack, archive_of, card_of, orderly_end

TOLERANCE: Final = 1e-3
"""Of a score, relative: other batch sizes use other code in the network, which changes the last digits. If two classes
are closer than that, either may be first."""

PASSES: Final = 5
"""Passes of the stages per round: they are short, and other load on the same core halves their speed."""


def bare(archive: Path, folder: Path, batch: int) -> dict[str, Any]:
    """Run the bare loop in its own process."""
    command = [sys.executable, "-m", "tools.bench.bare", archive, folder]
    options = ["--threads", str(os.cpu_count()), "--batch", str(batch)]
    done = subprocess.run([*map(str, command), *options], check=True, capture_output=True, text=True, cwd=ROOT)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def assert_equal(name: str, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """End the benchmark if predictions differ: a fast wrong answer doesn't count."""
    wrong = [(key, found.get(key), top[0]) for key, top in expected.items() if not _is_among(found.get(key), top)]
    if wrong or len(found) != len(expected):
        raise SystemExit(
            f"{name}: {len(wrong)} of {len(expected)} predictions differ from the bare loop's: {wrong[:3]}"
        )


def _is_among(best: tuple[str, float] | None, top: list[tuple[str, float]]) -> bool:
    """Return whether a prediction is the first of `top`, or within the tolerance of it."""
    first = top[0][1]
    return best is not None and any(
        label == best[0] and abs(score - best[1]) <= TOLERANCE * first and first - score <= TOLERANCE * first
        for label, score in top
    )


def each_stage(servers: Servers, name: str, model: str, files: list[Path]) -> list[stages.Stage]:
    """Measure the stages one by one."""
    with Stack(servers, name) as stack, Database(stack.settings) as database:
        noop = database.run(ledger.models.resolve, f"noop@{card_of(archive_of('noop'))['version']}")
        return [
            stages.s3(stack.settings, "photos", files),
            stages.hop(files),
            stages.decoding(Preprocessing.from_dict(card_of(archive_of(model))["preprocessing"]), files),
            stages.request(stack.settings, servers.torchserve.address, noop, len(files)),
            stages.commit(stack.settings, noop, 4000),
        ]


def summed_up(runs: tuple[stages.Stage, ...]) -> dict[str, Any]:
    """Return one stage's median run, with the minimum and maximum of all."""
    in_order = sorted(runs, key=attrgetter("wall"))
    passes = [asdict(run) for run in runs]
    return {
        **asdict(in_order[len(runs) // 2]),
        "least": in_order[0].wall,
        "most": in_order[-1].wall,
        "rounds": [passes[first : first + PASSES] for first in range(0, len(passes), PASSES)],
    }


def costs(run: pipeline.PipelineRun) -> dict[str, Any]:
    """Return the figures of one run of Sluice, with or without a model."""
    return {
        "p50": run.p50,
        "p99": run.p99,
        "stolen": run.stolen,
        "peak_mib": run.peak_mib,
        "cpu_ms": {part: seconds / run.images * 1000 for part, seconds in run.cpu.items()},
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Do all runs."""
    import torch  # noqa: PLC0415 - takes seconds, and --help needs none of it

    from handlers.running import runs_as  # noqa: PLC0415 - imports torch

    folder = cache_folder() / "bench" / f"photos-{arguments.images}"
    say(f"photos: {arguments.images}")
    files = write_photos(folder, arguments.images)
    model, batch = arguments.model, arguments.batch
    way = runs_as(card_of(archive_of(model)), torch.device("cpu"))
    results: dict[str, Any] = {"machine": host.machine(), "arguments": vars(arguments), "runs_as": way.to_dict()}
    with Servers(models=[model, "noop"], torchserve_workers=None, say=say) as servers:
        servers.start()
        servers.s3.fill("photos", ((path.name, path.read_bytes()) for path in files))
        os.environ.update(servers.s3.environment)  # the S3 stage reads in this process
        rounds, results["noop"] = [], []
        alone: list[list[stages.Stage]] = []
        results["stages_stolen"] = []
        for number in range(arguments.rounds):
            say(f"round {number + 1} of {arguments.rounds}: each stage alone")
            clocks = host.clocks()
            alone += [each_stage(servers, f"stages{number}-{again}", model, files) for again in range(PASSES)]
            results["stages_stolen"].append(host.stolen(clocks))
            say(f"round {number + 1} of {arguments.rounds}: bare loop")
            loop = bare(archive_of(model), folder, batch)
            say(f"round {number + 1} of {arguments.rounds}: Sluice")
            sluice = pipeline.run(servers, f"round{number}", "photos", model, consumers=arguments.consumers)
            say(f"round {number + 1} of {arguments.rounds}: plain client")
            client = plain.classify(servers.torchserve.address, model, files, at_once=4 * (os.cpu_count() or 1))
            assert_equal("Sluice", sluice.predictions, loop["predictions"])
            assert_equal("plain client", client.predictions, loop["predictions"])
            rounds.append(
                {
                    "bare": loop["images"] / loop["seconds"],
                    "sluice": sluice.images / sluice.seconds,
                    "plain": len(files) / client.seconds,
                    **costs(sluice),
                }
            )
            say(f"round {number + 1} of {arguments.rounds}: Sluice with a model that computes nothing")
            noop = pipeline.run(
                servers, f"noop{number}", "photos", "noop", consumers=arguments.consumers, repeats=arguments.repeats
            )
            results["noop"].append({"images": noop.images, "rate": noop.images / noop.seconds, **costs(noop)})
        results["rounds"] = rounds
        results["stages"] = [summed_up(runs) for runs in zip(*alone, strict=True)]
        results["ratio_to_bare"] = statistics.median(entry["sluice"] / entry["bare"] for entry in rounds)
        results["ratio_to_plain"] = statistics.median(entry["sluice"] / entry["plain"] for entry in rounds)
    return {**results, **part_of_json(in_rounds(results))}


def say(text: str) -> None:
    """Print progress to standard error."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: scripts/bench --images 400 --rounds 3",
    )
    parser.add_argument("--images", type=int, default=400, help="different photos (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: %(default)s)")
    parser.add_argument(
        "--repeats", type=int, default=24, help="how often a no-op run reads them (default: %(default)s)"
    )
    parser.add_argument("--model", default="resnet18-random", help="archive in the cache (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="images a batch (default: %(default)s)")
    parser.add_argument("--consumers", type=int, default=1, help="consumer processes (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "bench", help="folder for JSON and plot")
    arguments = parser.parse_args()
    with orderly_end():
        results = measure(arguments)
    arguments.output.mkdir(exist_ok=True)
    stem = arguments.output / datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    stem.with_suffix(".json").write_text(json.dumps(results, indent=2, default=str) + "\n")
    plot(results, stem.with_suffix(".png"))
    print(table(results))
    say(f"written: {stem}.json and .png")


if __name__ == "__main__":
    main()
