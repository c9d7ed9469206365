"""Measure archives against the same photos as objects, taking turns in one run; JSON goes to bench/.

One job each over the objects, a zip that stores them, a zip that deflates them, and a tar, from the first listed page
to the last committed row. The model computes nothing, so that reading counts. All predictions must be equal. Exits with
1 if an archive is slower than 0.9 of the objects.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tools.bench import host, pipeline
from tools.bench.photos import write_photos
from tools.bench.rounds import Measured, Measurement, part_of_json, settings_of
from tools.cache import cache_folder
from tools.stack import ROOT, Servers, orderly_end

SAME_SCORE: Final = 1e-3
"""Part by which the sum of another batch may differ."""
BAR: Final = 0.9
"""Minimum speed of the slowest kind of archive, as a share of the objects' speed."""


def zipped(path: Path, files: dict[str, Path], method: int) -> None:
    """Write a zip."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, file in files.items():
            archive.write(file, name)


def tarred(path: Path, files: dict[str, Path]) -> None:
    """Write a tar, in which the same photo is not a link to its first name."""
    with tarfile.open(path, "w", dereference=True) as archive:
        for name, file in files.items():
            archive.add(file, name)


MAKERS: Final[dict[str, Callable[[Path, dict[str, Path]], None]]] = {
    "stored.zip": lambda path, files: zipped(path, files, zipfile.ZIP_STORED),
    "deflated.zip": lambda path, files: zipped(path, files, zipfile.ZIP_DEFLATED),
    "plain.tar": tarred,
}


def fill(servers: Servers, folder: Path, images: int, different: int) -> None:
    """Upload the photos to one bucket and archives of them to another; each photo has several names."""
    photos = write_photos(folder / f"photos-{different}", different)
    files = {f"{number:06}.jpg": path for number, path in enumerate(itertools.islice(itertools.cycle(photos), images))}
    servers.s3.fill("photos", ((name, path.read_bytes()) for name, path in files.items()))
    servers.s3.client.create_bucket(Bucket="archives")
    for name, make in MAKERS.items():
        path = folder / name
        make(path, files)
        servers.s3.client.upload_file(str(path), "archives", name)
        path.unlink()


def rounds(servers: Servers, arguments: argparse.Namespace) -> Iterator[dict[str, float]]:
    """Yield the images per second of each kind, round by round."""
    sources = {"objects": "photos", **{name: f"archives/{name}" for name in MAKERS}}
    for number in range(arguments.rounds):
        found: dict[str, float] = {}
        expected: dict[str, tuple[str, float]] = {}
        for name, source in sources.items():
            say(f"round {number + 1} of {arguments.rounds}: {name}")
            run = pipeline.run(
                servers, f"round{number}_{name.partition('.')[0]}", source, "noop", consumers=arguments.consumers
            )
            expected = expected or run.predictions
            if run.images != arguments.images:
                raise SystemExit(f"{name}: {run.images} images have rows, {arguments.images} were expected")
            for photo, (label, score) in run.predictions.items():
                if expected[photo][0] != label or not math.isclose(expected[photo][1], score, rel_tol=SAME_SCORE):
                    raise SystemExit(f"{name}: {photo} is {label} {score}, as an object it was {expected[photo]}")
            found[name] = run.images / run.seconds
        yield found


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench archives",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: scripts/bench archives --images 7000 --rounds 3",
    )
    parser.add_argument("--images", type=int, default=1000, help="members, and objects (default: %(default)s)")
    parser.add_argument("--different", type=int, default=200, help="different photos (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: %(default)s)")
    parser.add_argument("--consumers", type=int, default=1, help="consumer processes (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "bench", help="folder for JSON")
    arguments = parser.parse_args()
    folder = cache_folder() / "bench"
    with orderly_end(), Servers(models=["noop"], say=say) as servers:
        servers.start()
        fill(servers, folder, arguments.images, arguments.different)
        found = list(rounds(servers, arguments))
    ratios = {name: [each[name] / each["objects"] for each in found] for name in MAKERS}
    measured = [Measured(name, "images/s", [each[name] for each in found]) for name in ("objects", *MAKERS)]
    results: dict[str, Any] = {
        "machine": host.machine(),
        "arguments": vars(arguments),
        "rounds": found,
        "ratios": ratios,
        **part_of_json(Measurement("archives", host.machine(), settings_of(vars(arguments)), "objects", measured)),
    }
    arguments.output.mkdir(exist_ok=True)
    path = arguments.output / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-archives.json"
    path.write_text(json.dumps(results, indent=2, default=str) + "\n")
    print(f"objects: {statistics.median(each['objects'] for each in found):.0f} images/s")
    for name, all_of in ratios.items():
        print(f"{name}: {statistics.median(all_of):.2f} of that ({min(all_of):.2f} to {max(all_of):.2f})")
    say(f"written: {path}")
    if min(statistics.median(all_of) for all_of in ratios.values()) < BAR:
        raise SystemExit(1)


def say(text: str) -> None:
    """Print progress to standard error."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
