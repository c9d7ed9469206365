"""The benchmark's table and plot."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any, Final

from tools.bench.rounds import Measured, Measurement, settings_of

BASELINE: Final = "bare loop"
WIDTH: Final = 34


def _row(name: str, *values: str) -> str:
    return f"{name:<{WIDTH}}" + "".join(f"{value:>16}" for value in values)


def _spread(values: list[float]) -> tuple[str, str]:
    return f"{statistics.median(values):.1f}", f"{min(values):.1f} to {max(values):.1f}"


def _shares(values: list[float]) -> str:
    return f"{min(values):.0%} to {max(values):.0%}"


def table(results: dict[str, Any]) -> str:
    """Return the table."""
    rounds, noop = results["rounds"], results["noop"]
    model = results["arguments"]["model"]
    named = ((model, rounds), ("no model", noop))
    lines = [
        *(f"{key}: {value}" for key, value in results["machine"].items()),
        "runtime: " + ", ".join(value for value in results["runs_as"].values() if value),
        "",
        _row(f"images/s with {model}", "median", "range"),
        _row("  bare loop, one process", *_spread([entry["bare"] for entry in rounds])),
        _row("  Sluice, S3 to committed row", *_spread([entry["sluice"] for entry in rounds])),
        _row("  plain client, one JPEG a request", *_spread([entry["plain"] for entry in rounds])),
        _row("  Sluice / bare loop", f"{results['ratio_to_bare']:.2f}"),
        _row("  Sluice / plain client", f"{results['ratio_to_plain']:.2f}"),
        _row("images/s with no model", *_spread([entry["rate"] for entry in noop])),
        "",
        _row("ms an image, each stage alone", "clock", "range", "processor"),
        *(
            _row(f"  {s['name']}", f"{s['wall']:.2f}", f"{s['least']:.2f} to {s['most']:.2f}", f"{s['cpu']:.2f}")
            for s in results["stages"]
        ),
        "",
        _row("seconds from lease to row", "p50", "p99"),
        *(
            _row(f"  {name}", *(f"{statistics.median(entry[p] for entry in runs):.2f}" for p in ("p50", "p99")))
            for name, runs in named
        ),
        "",
        _row("processor ms an image", model, "no model"),
        *(
            _row(f"  {part}", *(f"{_median(runs, 'cpu_ms', part):.2f}" for runs in (rounds, noop)))
            for part in rounds[0]["cpu_ms"]
        ),
        "",
        _row("peak MiB of a process", model, "no model"),
        *(
            _row(f"  {part}", *(f"{_median(runs, 'peak_mib', part):.0f}" for runs in (rounds, noop)))
            for part in rounds[0]["peak_mib"]
        ),
        "",
        "processors' time that the host gave to others",
        _row("  each stage alone", _shares(results["stages_stolen"])),
        *(_row(f"  {name}", _shares([entry["stolen"] for entry in runs])) for name, runs in named),
    ]
    return "\n".join(lines)


def _median(runs: list[dict[str, Any]], what: str, part: str) -> float:
    return float(statistics.median(entry[what][part] for entry in runs))


def in_rounds(results: dict[str, Any]) -> Measurement:
    """Return what scripts/bench --compare reads."""
    model, rounds = results["arguments"]["model"], results["rounds"]
    runs = ((f"Sluice with {model}", rounds), ("Sluice with no model", results["noop"]))
    figures = [
        Measured(BASELINE, "images/s", [each["bare"] for each in rounds]),
        Measured(f"plain client with {model}", "images/s", [each["plain"] for each in rounds]),
        *(Measured(name, "images/s", [each.get("sluice", each.get("rate")) for each in of]) for name, of in runs),
        *(
            Measured(f"{stage['name']}, alone", "ms", [statistics.median(run["wall"] for run in one) for one in of])
            for stage in results["stages"]
            for of in (stage["rounds"],)
        ),
        *(Measured(f"{name}, {p}", "s", [each[p] for each in of]) for name, of in runs for p in ("p50", "p99")),
        *(
            Measured(f"{name}, {what}: {part}", unit, [each[key][part] for each in of])
            for name, of in runs
            for what, key, unit in (("processor", "cpu_ms", "ms"), ("peak", "peak_mib", "MiB"))
            for part in of[0][key]
            # Servers stay from round to round: their peaks are one value, not several.
            if key == "cpu_ms" or part.startswith(("producer", "consumer"))
        ),
    ]
    settings = settings_of(results["arguments"], runs_as=results["runs_as"])
    return Measurement("run", results["machine"], settings, BASELINE, figures)


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw each stage's cost per image, and the rates next to each other."""
    import matplotlib as mpl  # noqa: PLC0415 - takes a second, and --help needs none of it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice above

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    names = [stage["name"] for stage in results["stages"]]
    left.barh(names, [stage["wall"] for stage in results["stages"]], color="#4477aa")
    left.invert_yaxis()
    left.set_xlabel("milliseconds an image, each stage alone")
    for place, stage in enumerate(results["stages"]):
        left.text(stage["wall"], place, f" {stage['wall']:.2f}", va="center")
    left.margins(x=0.15)
    rates = {
        "bare loop": [entry["bare"] for entry in results["rounds"]],
        "Sluice": [entry["sluice"] for entry in results["rounds"]],
        "plain client": [entry["plain"] for entry in results["rounds"]],
    }
    heights = [statistics.median(values) for values in rates.values()]
    right.bar(list(rates), heights, color=["#bbbbbb", "#4477aa", "#bbbbbb"])
    for place, height in enumerate(heights):
        right.text(place, height, f"{height:.1f}", ha="center", va="bottom")
    right.set_ylabel(f"images/s with {results['arguments']['model']}")
    right.margins(y=0.12)
    figure.suptitle(results["machine"]["processor"])
    figure.savefig(path, dpi=110)
    plt.close(figure)
