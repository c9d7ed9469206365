"""Measure how long large photos take from bytes to a model's input, and how much memory, beside other libraries.

Photos of 12, 24 and 48 megapixels as JPEG, PNG, WebP and HEIC, decoded by Sluice, Pillow, libvips, OpenCV, simplejpeg
and pillow-heif: each in a process with one thread, taking turns photo by photo and round by round. Peak memory is what
a process has more while it decodes, without the file's bytes. Prints a table; JSON goes to bench/.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, Self, cast

import numpy as np

from tools.bench import host
from tools.bench.decoders.roster import BASELINE, KINDS, OURS, SIZES, WAYS, reads
from tools.bench.peers.environments import environment_of
from tools.bench.rounds import Measured, Measurement, part_of_json, settings_of
from tools.cache import cache_folder
from tools.photos import sample
from tools.stack import ROOT

SUBJECT: Final = "rocket"
NEAR: Final = 1
"""Levels."""
LOCK: Final = Path(__file__).parent / "decoders.txt"

Decoded = dict[str, float]
"""Milliseconds and MiB of one file."""
Found = Mapping[tuple[str, str], Sequence[Decoded]]
"""By way and file, round by round."""


class Decoder:
    """A process that decodes by one way."""

    def __init__(self, way: str, python: Path, pixels: Path) -> None:
        command = ["env", "VIPS_CONCURRENCY=1", str(python), "-m", "tools.bench.decoders.worker", way, str(pixels)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._way = way

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def decode(self, path: Path) -> Decoded:
        """Decode a file; return what it took."""
        asking, answers = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)
        asking.write(f"{path}\n")
        asking.flush()
        line = answers.readline()
        if not line:
            raise SystemExit(f"bench: {self._way} ended at {path}")
        found: Decoded = json.loads(line)
        return found


def prepared(python: Path, sizes: Sequence[int]) -> list[Path]:
    """Return the files, by size and format; those of an earlier run are kept."""
    folder = cache_folder() / "bench" / "large"
    folder.mkdir(parents=True, exist_ok=True)
    for megapixels in sizes:
        if not all((folder / f"{megapixels}.{kind}").exists() for kind in KINDS):
            say(f"writing photos of {megapixels} megapixels")
            with tempfile.NamedTemporaryFile(suffix=".png") as small:
                sample(SUBJECT).save(small, "PNG")
                command = [python, "-m", "tools.bench.decoders.files", small.name, folder, megapixels]
                subprocess.run([*map(str, command)], cwd=ROOT, check=True)
    return [folder / f"{megapixels}.{kind}" for kind in KINDS for megapixels in sizes]


def measure(python: Path, files: Sequence[Path], rounds: int) -> tuple[Found, dict[tuple[str, str], tuple[float, int]]]:
    """Return what each way took, and how far its pixels are from Sluice's: the share that is near, and the most."""
    found: dict[tuple[str, str], list[Decoded]] = defaultdict(list)
    with ExitStack() as stack:
        pixels = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        decoders = {way: stack.enter_context(Decoder(way, python, pixels)) for way in WAYS}
        for number in range(-1, rounds):
            say(f"round {number + 1} of {rounds}" if number >= 0 else "warming up")
            for path in files if number >= 0 else files[:: len(SIZES)]:
                first = number % len(WAYS)
                for way in (*WAYS[first:], *WAYS[:first]):
                    if reads(way, path.suffix[1:]):
                        took = decoders[way].decode(path)
                        if number >= 0:
                            found[way, path.name].append(took)
        apart = {}
        for way, name in found:
            if (ours := pixels / f"{OURS}-{name}.npy").exists():
                levels = np.abs(np.load(ours).astype(int) - np.load(pixels / f"{way}-{name}.npy"))
                apart[way, name] = (float((levels <= NEAR).mean()), int(levels.max()))
    return found, apart


def table(found: Found, apart: Mapping[tuple[str, str], tuple[float, int]]) -> str:
    """Return a line for each file and way."""
    lines = [f"{'':<30}{'ms':>9}{'range':>18}{'of Pillow':>11}{'peak MiB':>10}{'within 1 level':>16}{'most':>6}"]
    for (way, name), runs in sorted(found.items(), key=lambda each: (each[0][1], WAYS.index(each[0][0]))):
        times = [run["ms"] for run in runs]
        base = [run["ms"] for run in found.get((BASELINE, name), ())]
        ratio = f"{statistics.median(a / b for a, b in zip(times, base, strict=True)):.2f}" if base else "-"
        near, most = (f"{apart[way, name][0]:.3%}", f"{apart[way, name][1]}") if (way, name) in apart else ("-", "-")
        memory = statistics.median(run["peak_mib"] for run in runs)
        spread = f"{min(times):.0f} to {max(times):.0f}"
        lines.append(
            f"{name + ', ' + way:<30}{statistics.median(times):>9.0f}{spread:>18}{ratio:>11}"
            f"{memory:>10.0f}{near:>16}{most:>6}"
        )
    return "\n".join(lines)


def in_rounds(found: Found, settings: dict[str, object], first: str) -> Measurement:
    """Return what scripts/bench --compare reads."""
    figures = [
        Measured(f"{way}, {name}{what}", unit, [run[key] for run in runs])
        for (way, name), runs in found.items()
        for key, unit, what in (("ms", "ms", ""), ("peak_mib", "MiB", ", peak"))
    ]
    return Measurement("photos", host.machine(), settings, f"{BASELINE}, {first}", figures)


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench photos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example, a short one: scripts/bench photos --megapixels 12 --rounds 3",
    )
    parser.add_argument("--megapixels", type=int, nargs="+", choices=SIZES, default=list(SIZES), help="default: all")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is decoded (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "bench", help="folder for JSON")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error(f"--rounds {arguments.rounds}: at least 1 is needed")
    python = environment_of(LOCK) / "bin/python"
    files = prepared(python, arguments.megapixels)
    found, apart = measure(python, files, arguments.rounds)
    for key, value in host.machine().items():
        print(f"{key}: {value}")
    print("bytes: " + ", ".join(f"{path.name} {path.stat().st_size / 1e6:.1f} MB" for path in files))
    print(table(found, apart))
    measured = in_rounds(found, settings_of(vars(arguments)), files[0].name)
    arguments.output.mkdir(exist_ok=True)
    path = arguments.output / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-photos.json"
    path.write_text(json.dumps({"machine": host.machine(), **part_of_json(measured)}, indent=2) + "\n")
    say(f"written: {path}")


def say(text: str) -> None:
    """Print progress to standard error."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
