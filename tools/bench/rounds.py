"""What a benchmark measured, round by round, in a form that `scripts/bench --compare` reads; a part of its JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

KEY: Final = "measured"
"""Where it stands in a benchmark's JSON."""
UNITS: Final = {"images/s": True, "ms": False, "s": False, "MiB": False}
"""Units, and whether more is better."""
NO_SETTINGS: Final = {"rounds", "times", "output", "json"}
"""Arguments of benchmarks that don't change what a round is."""


class Incomparable(Exception):
    """Raised when there are no two measurements that can be compared; says why, and what to do."""


@dataclass(frozen=True)
class Measured:
    """A figure: one value a round, all in the same order of rounds."""

    name: str
    unit: str
    rounds: list[float]


@dataclass(frozen=True)
class Measurement:
    """One run of one benchmark on one machine."""

    bench: str
    machine: dict[str, str]
    settings: dict[str, Any]
    baseline: str
    """The figure that tells how fast the machine was in each round; empty if there is none."""
    figures: list[Measured]


def settings_of(arguments: Mapping[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever JSON has
    """Return what makes two runs alike, as JSON will have it."""
    chosen = {name: value for name, value in arguments.items() if name not in NO_SETTINGS}
    found: dict[str, Any] = json.loads(json.dumps({**chosen, **more}, default=str))
    return found


def part_of_json(measurement: Measurement) -> dict[str, Any]:
    """Return the part of a benchmark's JSON; without figures that were too small to be measured."""
    figures = [each for each in measurement.figures if _positive(each.rounds)]
    return {KEY: asdict(replace(measurement, figures=figures))}


def read(path: Path) -> Measurement:
    """Read a benchmark's JSON."""
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise Incomparable(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise Incomparable(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get(KEY), dict):
        raise Incomparable(
            f"{path} has no {KEY!r}, the rounds of each figure: measure again with this release's scripts/bench "
            "(or its peers, archives, runtimes, photos)"
        )
    try:
        measurement = Measurement(**{**found[KEY], "figures": [Measured(**each) for each in found[KEY]["figures"]]})
        _check(measurement)
    except (TypeError, ValueError, KeyError) as error:
        raise Incomparable(f"{path} is damaged: {error}; measure again") from error
    return measurement


def _check(measurement: Measurement) -> None:
    if not isinstance(measurement.machine, dict) or not isinstance(measurement.settings, dict):
        raise TypeError("machine and settings must be objects")
    lengths = {len(each.rounds) for each in measurement.figures}
    if len(lengths) != 1:
        raise ValueError("figures of other numbers of rounds")
    for each in measurement.figures:
        if each.unit not in UNITS:
            raise ValueError(f"{each.name}: unknown unit {each.unit!r}")
        if not _positive(each.rounds):
            raise ValueError(f"{each.name}: rounds must be positive numbers")
    if measurement.baseline and measurement.baseline not in {each.name for each in measurement.figures}:
        raise ValueError(f"no figure {measurement.baseline!r}, the baseline")


def _positive(values: Sequence[Any]) -> bool:
    return all(isinstance(each, int | float) and 0 < each < float("inf") for each in values)
