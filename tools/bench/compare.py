"""Compare two measurements of scripts/bench (or of peers, archives, runtimes, photos): what changed, what is noise?

Prints each figure's median in both files, and how much it changed, with a 95 % interval from a bootstrap over rounds.
What takes time is compared as measured, and as a ratio to the baseline of the same round (the bare loop, where there is
one); only what both show is a change. So neither a machine that is slower today is one, nor a baseline that was lucky.
Memory is compared as it is. Exits with 1 if a figure is worse by more
than the bound and its interval doesn't include "no change"; with 2 if the files can't be compared.

Only like is compared with like: the same benchmark with the same settings. If the machines differ, a warning says so,
and what has no baseline is left out.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tools.bench.rounds import UNITS, Incomparable, Measured, Measurement, read

BENCH: Final = Path(__file__).parents[2] / "bench"
FIRST: Final = "run"
"""The benchmark that scripts/bench runs without a name."""
DRAWS: Final = 5000
SEED: Final = 1
LEVEL: Final = 0.95
LEAST: Final = 3
ENOUGH: Final = 5
"""With fewer rounds an interval of 95 % holds the truth in 88 of 100 cases only, measured on normal noise."""
WORDS: Final = {"images/s": ("faster", "slower"), "MiB": ("smaller", "larger")}
IN_TIME: Final = ("faster", "slower")
SAME: Final = "same"
WIDTHS: Final = (12, 12, 10, 22, 10)


@dataclass(frozen=True)
class Changed:
    """How a figure changed from one measurement to another; shares, with the sign that its value has."""

    name: str
    unit: str
    old: float
    new: float
    change: float
    low: float
    high: float
    judged: bool
    """Whether a change of it can be a regression; the baseline's is the machine's."""

    @property
    def word(self) -> str:
        """Return what the change is called."""
        if self.low <= 0 <= self.high:
            return SAME
        better, worse = WORDS.get(self.unit, IN_TIME)
        return better if (self.change > 0) == UNITS[self.unit] else worse

    @property
    def worst(self) -> float:
        """Return how much worse it is at the far end of its interval."""
        return -self.low if UNITS[self.unit] else self.high

    def is_regression(self, bound: float) -> bool:
        """Return whether it became worse beyond the bound, and not by chance."""
        worse = -self.change if UNITS[self.unit] else self.change
        return self.judged and self.word != SAME and worse > bound


def differences(old: Measurement, new: Measurement) -> list[Changed]:
    """Return the change of each figure that both have and that can be compared."""
    alike = old.machine == new.machine
    found = []
    for before in old.figures:
        after = next((each for each in new.figures if each.name == before.name and each.unit == before.unit), None)
        if after is None:
            continue
        baselines = _baselines(before, old, new, alike=alike)
        if not baselines:
            continue
        changes = [interval(_logs(before, each), _logs(after, other)) for each, other in baselines]
        found.append(
            Changed(
                before.name,
                before.unit,
                statistics.median(before.rounds),
                statistics.median(after.rounds),
                min((change for change, _, _ in changes), key=abs),
                min(low for _, low, _ in changes),
                max(high for _, _, high in changes),
                judged=before.name != old.baseline,
            )
        )
    if not found:
        raise Incomparable("the two files have no figure in common that can be compared")
    return found


def _baselines(
    figure: Measured, old: Measurement, new: Measurement, *, alike: bool
) -> list[tuple[Measured | None, Measured | None]]:
    """Return what a figure is divided by in either file; None: it is taken as measured."""
    found: list[tuple[Measured | None, Measured | None]] = (
        [(None, None)] if alike or figure.name == old.baseline else []
    )
    if old.baseline and figure.unit != "MiB" and figure.name != old.baseline:
        found.append((_figure(old, old.baseline), _figure(new, new.baseline)))
    return found


def _figure(measurement: Measurement, name: str) -> Measured:
    return next(each for each in measurement.figures if each.name == name)


def _logs(figure: Measured, baseline: Measured | None) -> NDArray[np.float64]:
    """Return logarithms of each round's value; in proportion to the baseline's speed or time in that round."""
    logs: NDArray[np.float64] = np.log(np.array(figure.rounds))
    if baseline is not None:
        speed = np.log(np.array(baseline.rounds))
        logs += -speed if UNITS[figure.unit] == UNITS[baseline.unit] else speed
    return logs


def interval(old: NDArray[np.float64], new: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the change of the geometric mean, as a share, and its interval; from logarithms.

    Each draw has one round fewer than there are: with as many, intervals of few rounds are too narrow.
    """
    random = np.random.default_rng(SEED)
    before, after = (each[random.integers(0, len(each), (DRAWS, len(each) - 1))].mean(axis=1) for each in (old, new))
    low, high = np.quantile(after - before, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(np.expm1(new.mean() - old.mean())), float(np.expm1(low)), float(np.expm1(high))


def refuse_unlike(old: Measurement, new: Measurement) -> None:
    """Raise Incomparable if the two measured different things, or too little to tell."""
    if old.bench != new.bench:
        raise Incomparable(
            f"one file is of {_command(old.bench)}, the other of {_command(new.bench)}: compare the same"
        )
    names = sorted({*old.settings, *new.settings})
    other = [name for name in names if old.settings.get(name) != new.settings.get(name)]
    if other:
        told = "; ".join(f"{name} is {old.settings.get(name)} and {new.settings.get(name)}" for name in other)
        raise Incomparable(f"other settings: {told}. Measure again with the first file's")
    if old.baseline != new.baseline:
        raise Incomparable(f"other baselines: {old.baseline or 'none'} and {new.baseline or 'none'}")
    fewest = min(len(of.figures[0].rounds) for of in (old, new))
    if fewest < LEAST:
        raise Incomparable(f"{fewest} rounds tell nothing of noise: measure with --rounds {ENOUGH} or more")
    if old.machine != new.machine and not old.baseline:
        raise Incomparable(
            f"other machines ({_processor(old)} and {_processor(new)}), and no baseline in the files: "
            "measure both on one machine"
        )


def _command(bench: str) -> str:
    return f"scripts/bench {bench}".removesuffix(f" {FIRST}")


def _processor(measurement: Measurement) -> str:
    return measurement.machine.get("processor", "unknown")


def warnings(old: Measurement, new: Measurement) -> list[str]:
    """Return what a reader must know before the table."""
    found = []
    other = [name for name in {**old.machine, **new.machine} if old.machine.get(name) != new.machine.get(name)]
    if other:
        told = "; ".join(f"{name}: {old.machine.get(name)} and {new.machine.get(name)}" for name in other)
        found.append(f"other machines ({told}): only ratios to {old.baseline} are compared")
    fewest = min(len(of.figures[0].rounds) for of in (old, new))
    if fewest < ENOUGH:
        found.append(f"{fewest} rounds: intervals are rough, --rounds {ENOUGH} or more are better")
    names = [{each.name for each in of.figures} for of in (old, new)]
    found += [f"only in the {which} file: {', '.join(sorted(each))}" for which, each in _only(*names) if each]
    return found


def _only(old: set[str], new: set[str]) -> Sequence[tuple[str, set[str]]]:
    return ("old", old - new), ("new", new - old)


def table(found: Sequence[Changed], baseline: str, bound: float) -> str:
    """Return the table, and what follows from it."""
    width = max(len(each.name) for each in found) + 12
    heads = ("old", "new", "change", "95 % interval", "")
    wide = [each.name for each in found if each.word == SAME and each.worst > bound]
    bad = [each.name for each in found if each.is_regression(bound)]
    return "\n".join(
        [
            f"change: the smaller of that measured and that of the ratio to {baseline}; the interval holds both"
            if baseline
            else "change: as measured, there is no baseline",
            "",
            _line("", heads, width),
            *(_line(f"{each.name}, {each.unit}", _cells(each), width) for each in found),
            "",
            *(
                [f"{len(wide)} figures may still be worse by more than {bound:.0%}: more rounds would tell"]
                if wide
                else []
            ),
            f"worse by more than {bound:.0%}: {', '.join(bad) or 'nothing'}",
        ]
    )


def _cells(each: Changed) -> tuple[str, ...]:
    spread = f"{each.low:+.1%} to {each.high:+.1%}"
    return f"{each.old:.4g}", f"{each.new:.4g}", f"{each.change:+.1%}", spread, each.word


def _line(name: str, cells: Sequence[str], width: int) -> str:
    return f"{name:<{width}}" + "".join(f"{cell:>{size}}" for cell, size in zip(cells, WIDTHS, strict=True))


def share(text: str) -> float:
    """Read a share like 5% or 0.05."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text.strip())
    value = float(found[1]) / (100 if found[2] else 1) if found else -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share below 100%: write 5% or 0.05")
    return value


def newest(folder: Path, but: Path | None) -> Path:
    """Return the newest measurement in a folder; of the same benchmark as another file, and not that file."""
    bench = read(but).bench if but else FIRST
    paths = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    paths = [path for path in paths if but is None or not path.samefile(but)]
    found = next((path for path in paths if _bench(path) == bench), None)
    if found is None:
        raise Incomparable(f"{folder} has no {'other ' if but else ''}measurement: run {_command(bench)}")
    return found


def which(old: Path, new: Path | None, folder: Path) -> tuple[Path, Path]:
    """Return the two files to compare."""
    if not old.is_dir():
        return old, new or newest(folder, old)
    new = new or newest(old, None)
    return newest(old, new), new


def _bench(path: Path) -> str | None:
    """Return which benchmark wrote a file; None if none did that can be compared."""
    try:
        return read(path).bench
    except Incomparable:
        return None


def main(given: Sequence[str] | None = None) -> None:
    """Compare, print, and exit with 1 at a regression."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench --compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: scripts/bench --rounds 8, change something, scripts/bench --rounds 8, then\n"
        "  scripts/bench --compare bench/20261127-101500.json bench/20261127-104500.json --bound 3%",
    )
    parser.add_argument("old", type=Path, metavar="OLD", help="JSON of before; of a folder the two newest are compared")
    parser.add_argument("new", type=Path, metavar="NEW", nargs="?", help="JSON of after (default: bench's newest)")
    parser.add_argument("--bound", type=share, default=0.05, help="a worse figure is an error beyond it (default: 5%%)")
    arguments = parser.parse_args(given)
    try:
        old_path, new_path = which(arguments.old, arguments.new, BENCH)
        old, new = read(old_path), read(new_path)
        refuse_unlike(old, new)
        found = differences(old, new)
    except Incomparable as error:
        print(f"bench: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    for warning in warnings(old, new):
        print(f"bench: {warning}", file=sys.stderr)
    for name, path, of in (("old", old_path, old), ("new", new_path, new)):
        print(f"{name}: {path}, {_command(of.bench)}, {len(of.figures[0].rounds)} rounds, {_processor(of)}")
    print(table(found, old.baseline, arguments.bound))
    raise SystemExit(any(each.is_regression(arguments.bound) for each in found))


if __name__ == "__main__":
    main()
