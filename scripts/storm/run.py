"""Kill, drain, starve and slow down a whole Sluice on this machine, and print what came of it.

Without a flag: the storm. A job runs while consumers, producer, database and TorchServe are killed with SIGKILL and
consumers are drained with SIGTERM; at its end each object must have its one prediction. The schedule is made from the
seed and strikes at shares of the work done, so that a seed means the same storm on each machine. The counts of faults
belong to 20,000 objects and shrink with fewer, to at least one of each kind.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Final

from scripts.stack import Servers, orderly_end
from scripts.storm.pictures import pictures
from scripts.storm.schedule import Counts
from scripts.storm.storm import BUCKET, storm
from scripts.storm.verdict import Outcome

FULL: Final = 20_000
KINDS: Final = ("consumer", "producer", "database", "torchserve", "drain")
EXAMPLES: Final = """\
examples:
  scripts/chaos --objects 20000 --seeds 1,2,3   the full storm, three times
  scripts/chaos --objects 1500 --seeds 7        a small one
"""


def say(text: str) -> None:
    """Say what is under way, beside the output."""
    print(f"chaos: {text}", file=sys.stderr, flush=True)


def run_storms(objects: int, seeds: list[int]) -> int:
    """Run the storm of each seed, and print the table; gives the exit code."""
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
    """Print a row a seed, and whatever was broken."""
    heads = ["seed", "objects", "seconds", *KINDS, "redelivered", "lost", "duplicate", "peak MB", "breaches"]
    print("  ".join(f"{head:>{max(7, len(head))}}" for head in heads))
    for outcome in outcomes:
        cells = [
            outcome.seed,
            outcome.objects,
            f"{outcome.seconds:.0f}",
            *(outcome.blows[kind] for kind in KINDS),
            outcome.redelivered,
            outcome.lost,
            outcome.duplicate,
            f"{outcome.peak_mb:.0f}",
            len(outcome.breaches),
        ]
        print("  ".join(f"{cell:>{max(7, len(head))}}" for head, cell in zip(heads, cells, strict=True)))
        for breach in outcome.breaches:
            print(f"    {breach}")
    sys.stdout.flush()


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(
        prog="scripts/chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EXAMPLES
    )
    parser.add_argument("--objects", type=int, default=FULL, metavar="N", help="objects a storm (default: %(default)s)")
    parser.add_argument(
        "--seeds",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[1, 2, 3],
        metavar="A,B,...",
        help="one storm each (default: 1,2,3)",
    )
    arguments = parser.parse_args()
    with orderly_end():
        sys.exit(run_storms(arguments.objects, arguments.seeds))


if __name__ == "__main__":
    main()
