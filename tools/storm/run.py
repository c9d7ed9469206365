"""Kill, drain, overload and slow down a complete Sluice on this machine, and print the results.

Without a flag, the storm: while a job runs, consumers, producer, database and TorchServe are killed with SIGKILL and
consumers are drained with SIGTERM; at the end each object must have exactly one prediction. The schedule depends only
on the seed, and its times are shares of the work done, so that a seed is the same storm on each machine. The counts of
faults are for 20,000 objects and shrink with fewer, to at least one of each kind. With --unknown the faults are drawn
from a larger set, at times in seconds.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Final

from tools.stack import Servers, orderly_end
from tools.storm import overload, slow
from tools.storm.gateways import gateways_killed
from tools.storm.pictures import pictures
from tools.storm.schedule import Counts
from tools.storm.storm import BUCKET, storm
from tools.storm.trainings import trainings_killed
from tools.storm.unknown.draw import FULL_SECONDS, Cast
from tools.storm.unknown.storm import Unknown, fresh_seed, print_unknown, unknown_storm
from tools.storm.verdict import Outcome

FULL: Final = 20_000
OVERLOAD_OBJECTS: Final = 500
OVERLOAD_SECONDS: Final = 60.0
RECOVERY_SECONDS: Final = 5.0
SLOW_OBJECTS: Final = 3000
SLOW_BAR: Final = 1.15
KILLS: Final = 20
KINDS: Final = ("consumer", "producer", "database", "torchserve", "drain")
EXAMPLES: Final = """\
examples:
  scripts/chaos --objects 20000 --seeds 1,2,3   the full storm, three times
  scripts/chaos --objects 1500 --seeds 7        a small one
  scripts/chaos --unknown                       300 s of faults drawn from all there are, by a fresh seed
  scripts/chaos --unknown --seconds 60 --seeds 5,fresh
  scripts/chaos --overload                      TorchServe gone for 60 s, then full for 60 s
  scripts/chaos --gateways                      20 kills of one of two gateways that people use
  scripts/chaos --trainings --kills 10          a trainer that is killed again and again makes the same model
  scripts/chaos --slow                          one of four consumers ten times slower
"""


def say(text: str) -> None:
    """Print progress to standard error."""
    print(f"chaos: {text}", file=sys.stderr, flush=True)


def run_storms(objects: int, seeds: list[int]) -> int:
    """Run the storm of each seed, and print the table; return the exit code."""
    outcomes: list[Outcome] = []
    with Servers(models=["noop"], say=say) as servers:
        servers.start()
        begun = time.monotonic()
        servers.s3.fill(BUCKET, pictures(objects))
        say(f"{objects} objects are in the bucket ({time.monotonic() - begun:.0f} s)")
        for seed in seeds:
            say(f"storm of seed {seed}")
            outcomes.append(storm(servers, seed, objects, Counts().scaled(objects / FULL), say))
            print_table(outcomes[-1:])
    print_table(outcomes)
    return 1 if any(outcome.breaches for outcome in outcomes) else 0


def print_table(outcomes: list[Outcome]) -> None:
    """Print a row for each seed, and everything that was broken."""
    counts = ["redelivered", "suspects", "twice", "lost", "duplicate"]
    heads = ["seed", "objects", "seconds", *KINDS, *counts, "peak MB", "breaches"]
    print("  ".join(f"{head:>{max(7, len(head))}}" for head in heads))
    for outcome in outcomes:
        cells = [
            outcome.seed,
            outcome.objects,
            f"{outcome.seconds:.0f}",
            *(outcome.blows[kind] for kind in KINDS),
            outcome.redelivered,
            outcome.suspects,
            outcome.twice,
            outcome.lost,
            outcome.duplicate,
            f"{outcome.peak_mb:.0f}",
            len(outcome.breaches),
        ]
        print("  ".join(f"{cell:>{max(7, len(head))}}" for head, cell in zip(heads, cells, strict=True)))
        for breach in outcome.breaches:
            print(f"    {breach}")
    sys.stdout.flush()


def run_overload(seconds: float) -> int:
    """Stop TorchServe, then fill it, and print the result; return the exit code."""
    with Servers(models=["noop"], say=say) as servers:
        servers.start(servers.database, servers.s3)
        servers.s3.fill(overload.BUCKET, pictures(OVERLOAD_OBJECTS))
        found = overload.overload(servers, seconds, say)
    print("TorchServe  seconds  done meanwhile  first row after its return")
    for outage in found.outages:
        print(f"{outage.kind:<10}  {outage.seconds:7.0f}  {outage.done_during:14}  {outage.recovery:.2f} s")
    print(f"quarantined {found.quarantined}, answers 503: {found.full_answers}, breaches: {found.breaches or 'none'}")
    for name, peak in found.peak_mb.items():
        print(f"{name}: {found.before_mb[name]:.0f} MB before, {peak:.0f} MB at its peak")
    slow = any(outage.recovery > RECOVERY_SECONDS for outage in found.outages)
    return 1 if found.quarantined or found.breaches or slow else 0


def run_slow(objects: int) -> int:
    """Slow one consumer down, and print the cost; return the exit code."""
    with Servers(models=["noop"], say=say) as servers:
        servers.start()
        servers.s3.fill(slow.BUCKET, pictures(objects, slow.SIDE))
        found = slow.slow(servers, objects)
    before, after = found.fast_rates
    print(
        f"objects {found.objects}; a fast consumer did {before:.1f} a second before, {after:.1f} after; done by each:"
    )
    for name, count in found.by_consumer.items():
        print(f"  {name}: {count}")
    print(f"makespan {found.makespan:.1f} s, ideal split {found.ideal:.1f} s: {found.ratio:.3f} times as long")
    return 1 if found.ratio > SLOW_BAR else 0


def run_gateways(kills: int, seeds: list[int]) -> int:
    """Kill gateways under traffic, and print what came of it; gives the exit code."""
    heads = ("seed", "kills", "seconds", "answered", "refused", "broken", "resent", "pictures", "uploads", "breaches")
    failed = False
    with Servers(models=["noop"], say=say) as servers:
        print("  ".join(f"{head:>8}" for head in heads))
        for seed in seeds:
            found = gateways_killed(servers, seed, kills, say)
            cells = [seed, found.kills, round(found.seconds), found.answered, found.refused, found.broken]
            cells += [found.resent, found.pictures, found.uploads, len(found.breaches)]
            print("  ".join(f"{cell:>8}" for cell in cells), flush=True)
            for breach in found.breaches:
                print(f"    {breach}")
            failed = failed or bool(found.breaches)
    return 1 if failed else 0


def run_trainings(kills: int, seeds: list[int]) -> int:
    """Kill a trainer while it trains, and print what came of it; return the exit code."""
    failed = False
    with Servers(models=["noop"], say=say) as servers:
        for seed in seeds:
            found = trainings_killed(servers, seed, kills, say)
            print(f"seed {seed}: {len(found.stages)} kills in {found.seconds:.0f} s, while {', '.join(found.stages)}")
            print("\n".join(found.breaches) or "the digest is that of a training that nobody disturbed")
            failed = failed or bool(found.breaches)
    return 1 if failed else 0


def run_unknown(seconds: float, seeds: list[int]) -> int:
    """Run the unknown storm of each seed, and print the table; return the exit code."""
    outcomes: list[Unknown] = []
    with Servers(models=["noop"], say=say) as servers:
        for seed in seeds:
            outcomes.append(unknown_storm(servers, seed, seconds, Cast(), say))
            print_unknown(outcomes[-1:])
    if len(outcomes) > 1:
        print_unknown(outcomes)
    print(f"the seeds were {','.join(str(seed) for seed in seeds)}, each for {seconds:g} s")
    return 1 if any(outcome.breaches for outcome in outcomes) else 0


def read_seeds(text: str) -> list[int]:
    """Read `1,2,fresh`: numbers, and random seeds."""
    return [fresh_seed() if part == "fresh" else int(part) for part in text.split(",")]


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(
        prog="scripts/chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EXAMPLES
    )
    parser.add_argument(
        "--objects", type=int, metavar="N", help=f"objects of a job (default: {FULL}; with --slow {SLOW_OBJECTS})"
    )
    parser.add_argument(
        "--seeds",
        type=read_seeds,
        metavar="A,B,...",
        help="one storm each; `fresh` takes one by chance (default: 1,2,3; with --unknown: fresh)",
    )
    parser.add_argument(
        "--unknown", action="store_true", help="draw from all faults: frozen, cut off, overwritten, clocks, ..."
    )
    parser.add_argument("--overload", action="store_true", help="take TorchServe away, then fill it, instead")
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="N",
        help=f"how long (default: {OVERLOAD_SECONDS:g} with --overload, {FULL_SECONDS:g} with --unknown)",
    )
    parser.add_argument(
        "--gateways",
        action="store_true",
        help="kill one of two gateways again and again under traffic, instead",
    )
    parser.add_argument("--trainings", action="store_true", help="kill a trainer again and again, instead")
    parser.add_argument(
        "--kills", type=int, default=KILLS, metavar="N", help="with --gateways or --trainings (default: %(default)s)"
    )
    parser.add_argument("--slow", action="store_true", help="slow one consumer of four down, instead")
    arguments = parser.parse_args()
    with orderly_end():
        if arguments.overload:
            sys.exit(run_overload(arguments.seconds or OVERLOAD_SECONDS))
        if arguments.unknown:
            sys.exit(run_unknown(arguments.seconds or FULL_SECONDS, arguments.seeds or [fresh_seed()]))
        if arguments.gateways:
            sys.exit(run_gateways(arguments.kills, arguments.seeds or [1]))
        if arguments.trainings:
            sys.exit(run_trainings(arguments.kills, arguments.seeds or [1]))
        if arguments.slow:
            sys.exit(run_slow(arguments.objects or SLOW_OBJECTS))
        sys.exit(run_storms(arguments.objects or FULL, arguments.seeds or [1, 2, 3]))


if __name__ == "__main__":
    main()
