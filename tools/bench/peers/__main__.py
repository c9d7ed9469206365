"""Measure Sluice beside its peers on this machine: from photos in S3 to rows in a database, in one run.

Each system gets the same photos, the same weights and the same decoding: Sluice, Ray Data, Daft, BentoML and LitServe
read from the same S3 server and write to the same database; the bare loop reads files and writes nothing. Each is
started, warmed up, measured and stopped; they take turns, round by round. Predictions must be equal. Prints a table;
JSON and a plot go to bench/.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from handlers.running import runs_as
from tools.bench import host
from tools.bench.peers.bare_system import BareSystem, arrangements, sweep
from tools.bench.peers.peer_system import PeerSystem
from tools.bench.peers.report import in_rounds, plot, table
from tools.bench.peers.roster import PEERS
from tools.bench.peers.runs import figures
from tools.bench.peers.sluice_system import SluiceSystem
from tools.bench.peers.task import Task
from tools.bench.photos import write_photos
from tools.bench.rounds import part_of_json
from tools.bench.run import assert_equal
from tools.cache import cache_folder
from tools.stack import ROOT, Servers, StackError, archive_of, card_of, free_port, orderly_end
from tools.stack.ports import give_back
from tools.stack.storage import REGION

BUCKET = "photos"
NAMES = ("sluice", *(peer.name for peer in PEERS), "bare")

System = SluiceSystem | PeerSystem | BareSystem


def main() -> None:
    """Measure, print, and write."""
    arguments = _arguments()
    with orderly_end():
        results = measure(arguments)
    path: Path = arguments.json or ROOT / "bench" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-peers.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=2, default=str) + "\n")
    plot(results, path.with_suffix(".svg"))
    print(table(results))
    say(f"written: {path} and {path.with_suffix('.svg').name}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example, a short one: scripts/bench peers --rounds 1 --seconds 20 --only sluice,ray,bare",
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="about, after the warm-up (default: %(default)s)")
    parser.add_argument("--warm-up", type=float, default=10, help="seconds of work before (default: %(default)s)")
    parser.add_argument("--images", type=int, help="in each run; default: what the bare loop does in this time")
    parser.add_argument("--different", type=int, default=400, help="different photos (default: %(default)s)")
    parser.add_argument("--model", default="resnet18-random", help="archive in the cache (default: %(default)s)")
    parser.add_argument("--peers-model", help="archive for the peers, which then answer otherwise (default: the same)")
    parser.add_argument("--batch", type=int, default=32, help="images a batch (default: %(default)s)")
    parser.add_argument("--arrangement", type=_arrangement, help="PROCESSESxTHREADS; default: the bare loop's best")
    parser.add_argument("--consumers", type=int, default=1, help="Sluice's consumer processes (default: %(default)s)")
    parser.add_argument("--workers", type=int, help="Sluice's TorchServe workers (default: what Sluice chooses)")
    parser.add_argument("--only", help=f"systems, separated by commas, of {','.join(NAMES)} (default: all)")
    parser.add_argument("--json", type=Path, help="where to write (default: a new file in bench/)")
    arguments = parser.parse_args()
    arguments.peers_model = arguments.peers_model or arguments.model
    for name in (arguments.model, arguments.peers_model):
        try:
            archive_of(name)
        except StackError as error:
            parser.error(str(error))
    arguments.only = arguments.only.split(",") if arguments.only else list(NAMES)
    if unknown := set(arguments.only) - set(NAMES):
        parser.error(f"--only {','.join(sorted(unknown))}: there are {', '.join(NAMES)}")
    for name in ("rounds", "different", "batch", "consumers", "workers"):
        if (getattr(arguments, name) or 1) < 1:
            parser.error(f"--{name} {getattr(arguments, name)}: at least 1 is needed")
    return arguments


def _arrangement(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9][0-9]{0,3})x([1-9][0-9]{0,3})", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 2x1: two processes of one thread each")
    return int(found[1]), int(found[2])


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Do all runs, and return what the report needs."""
    say(f"photos: {arguments.different}")
    folder = cache_folder() / "bench" / f"photos-{arguments.different}"
    files = write_photos(folder, arguments.different)
    with Servers(models=[arguments.model], torchserve_workers=arguments.workers, say=say) as servers:
        bare = BareSystem(folder, servers.folder, servers.leash)
        systems = _systems(arguments, servers, bare)
        port = free_port()
        task = Task(
            endpoint=servers.s3.endpoint,
            region=REGION,
            bucket=BUCKET,
            photos=0,
            archive=str(archive_of(arguments.model)),
            database="",
            option_file="",
            batch=arguments.batch,
            processes=1,
            threads=1,
            port=port,
        )
        say("bare loop, to find its best arrangement")
        tried = [arguments.arrangement] if arguments.arrangement else arrangements(os.cpu_count() or 1)
        rates = sweep(bare, task, arguments.different, tried)
        processes, threads = max(rates, key=lambda each: rates[each])
        best = rates[processes, threads]
        say(f"{processes} processes of {threads} threads: {best:.1f} images/s, the best of {len(rates)}")
        warm = _whole_batches(arguments.warm_up * best, arguments.batch)
        photos = warm + (arguments.images or _whole_batches(arguments.seconds * best, arguments.batch))
        task = replace(task, photos=photos, processes=processes, threads=threads)
        servers.start(servers.database, servers.s3)
        say(f"uploading {photos} objects")
        servers.s3.fill(BUCKET, _objects(files, photos))
        clocks = host.clocks()
        theirs = replace(task, archive=str(archive_of(arguments.peers_model)))
        if theirs.archive not in bare.expected:
            say(f"bare loop, for what {arguments.peers_model} answers")
            bare.run(replace(theirs, photos=arguments.different), 0)
        tasks = {each.name: theirs if isinstance(each, PeerSystem) else task for each in systems}
        rounds = _rounds(arguments.rounds, systems, tasks, warm, bare)
        give_back(port)
        results = {
            "machine": host.machine(),
            "arguments": vars(arguments),
            "models": {"sluice": _runs_as(task), "peers": _runs_as(theirs)},
            "photos": photos,
            "warm": warm,
            "sweep": [{"processes": p, "threads": t, "rate": rate} for (p, t), rate in rates.items()],
            "arrangement": {"processes": processes, "threads": threads},
            "stolen": host.stolen(clocks),
            "systems": [
                {"name": each.name, "title": each.title, "version": each.version, "rounds": rounds[each.name]}
                for each in systems
            ],
        }
        return {**results, **part_of_json(in_rounds(results))}


def _runs_as(task: Task) -> str:
    """Return an archive's name, and how this machine runs its network."""
    archive = Path(task.archive)
    way = runs_as(card_of(archive), torch.device("cpu"))
    return f"{archive.stem}, {way.runtime} {way.precision}"


def _systems(arguments: argparse.Namespace, servers: Servers, bare: BareSystem) -> list[System]:
    every: list[System] = [SluiceSystem(servers, arguments.model, arguments.consumers)]
    every += [PeerSystem(peer, servers) for peer in PEERS if peer.name in arguments.only]
    return [each for each in [*every, bare] if each.name in arguments.only]


def _rounds(
    count: int, systems: Sequence[System], tasks: Mapping[str, Task], warm: int, bare: BareSystem
) -> dict[str, list[dict[str, float | None]]]:
    """Run each system in each round, every round beginning with another one."""
    found: dict[str, list[dict[str, float | None]]] = {each.name: [] for each in systems}
    for number in range(count):
        first = number % len(systems)
        for system in (*systems[first:], *systems[:first]):
            say(f"round {number + 1} of {count}: {system.title}")
            task = tasks[system.name]
            run = system.run(task, warm)
            if system is not bare:
                assert_equal(system.title, dict(run.predictions), _by_key(bare.expected[task.archive], task.photos))
            found[system.name].append(figures(run, warm))
            say(f"    {found[system.name][-1]['rate']:.1f} images/s")
    return found


def _objects(files: Sequence[Path], count: int) -> list[tuple[str, bytes]]:
    """Return keys and bytes of objects; the photos recur."""
    photos = [path.read_bytes() for path in files]
    return [(_key(number), photo) for number, photo in enumerate(itertools.islice(itertools.cycle(photos), count))]


def _key(number: int) -> str:
    return f"{number:06}.jpg"


def _by_key(of_files: dict[str, list[tuple[str, float]]], count: int) -> dict[str, list[tuple[str, float]]]:
    """Return what is expected of each object, from what is expected of each photo."""
    in_order = [of_files[name] for name in sorted(of_files)]
    return {_key(number): in_order[number % len(in_order)] for number in range(count)}


def _whole_batches(images: float, batch: int) -> int:
    return max(1, math.ceil(images / batch)) * batch


def say(text: str) -> None:
    """Print progress to standard error."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
