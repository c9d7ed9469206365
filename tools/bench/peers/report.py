"""The table and the plot of peers: medians and ranges over rounds, and ratios within each round."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tools.bench.rounds import Measured, Measurement, settings_of

OURS: Final = "sluice"
BARE: Final = "bare"
WIDTH: Final = 24
HEADS: Final = {
    "after its start": 16,
    "range": 18,
    "of Sluice's": 13,
    "with start": 12,
    "p50 s": 8,
    "p99 s": 8,
    "first row s": 13,
    "CPU ms": 9,
    "S3, DB ms": 11,
    "peak MiB": 10,
}

COMPARED: Final = {
    "rate": ("", "images/s"),
    "rate_with_start": (", with its start", "images/s"),
    "p50": (", p50", "s"),
    "p99": (", p99", "s"),
    "cpu_ms_system": (", processor", "ms"),
    "peak_mib_system": (", peak", "MiB"),
}
"""Figures of a round that two runs of the benchmark are compared by, what they are called, and their units."""

System = Mapping[str, Any]


def values(system: System, figure: str) -> list[float]:
    """Return a figure of each round that has it."""
    return [found[figure] for found in system["rounds"] if found.get(figure) is not None]


def median(system: System, figure: str) -> float | None:
    """Return the median over the rounds; None if no round has it."""
    found = values(system, figure)
    return statistics.median(found) if found else None


def ratios(system: System, other: System, figure: str = "rate") -> list[float]:
    """Return what share of the other's figure a system has, round by round."""
    pairs = zip(values(system, figure), values(other, figure), strict=True)
    return [mine / others for mine, others in pairs]


def fastest(systems: Sequence[System], figure: str = "rate") -> System | None:
    """Return the fastest peer; neither Sluice nor the bare loop is one."""
    peers = [each for each in systems if each["name"] not in {OURS, BARE}]
    return max(peers, key=lambda each: median(each, figure) or 0.0, default=None)


def of_name(systems: Sequence[System], name: str) -> System | None:
    """Return a system by its name."""
    return next((each for each in systems if each["name"] == name), None)


def table(results: Mapping[str, Any]) -> str:
    """Return the table; the fastest comes first."""
    systems, arranged = results["systems"], results["arrangement"]
    in_order = sorted(systems, key=lambda each: -(median(each, "rate") or 0.0))
    ours = of_name(systems, OURS)
    tried = ", ".join(f"{each['processes']} x {each['threads']}: {each['rate']:.1f}" for each in results["sweep"])
    return "\n".join(
        [
            *(f"{key}: {value}" for key, value in results["machine"].items()),
            f"model: {results['models']['sluice']}; the peers': {results['models']['peers']}",
            f"{results['photos']} photos, {results['warm']} of them to warm up",
            f"bare loop's processes x threads, images/s: {tried}",
            f"for it and for the peers: {arranged['processes']} x {arranged['threads']}",
            "",
            f"{'images/s':<{WIDTH}}" + "".join(f"{head:>{width}}" for head, width in HEADS.items()),
            *(_line(each, ours) for each in in_order),
            "",
            *_comparisons(systems, ours),
            f"processors' time that the host gave to others: {results['stolen']:.0%}",
        ]
    )


def _line(system: System, ours: System | None) -> str:
    rates = values(system, "rate")
    share = statistics.median(ratios(system, ours)) if ours else None
    servers = [median(system, f"cpu_ms_{name}") for name in ("s3", "database")]
    cells = (
        f"{statistics.median(rates):.1f}",
        f"{min(rates):.1f} to {max(rates):.1f}",
        _shown(share, 2),
        _shown(median(system, "rate_with_start"), 1),
        _shown(median(system, "p50"), 2),
        _shown(median(system, "p99"), 2),
        _shown(median(system, "first"), 1),
        _shown(median(system, "cpu_ms_system"), 1),
        _shown(sum(each for each in servers if each is not None) if any(servers) else None, 1),
        _shown(median(system, "peak_mib_system"), 0),
    )
    name = f"{system['title']} {system['version']}"
    return f"{name:<{WIDTH}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, HEADS.values(), strict=True))


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _comparisons(systems: Sequence[System], ours: System | None) -> list[str]:
    """Return how Sluice compares with the fastest peer and with the bare loop."""
    if ours is None:
        return []
    lines = []
    for figure, when in (("rate", "after its start"), ("rate_with_start", "with its start")):
        rivals = [(fastest(systems, figure), "the fastest peer"), (of_name(systems, BARE), "the bare loop")]
        for rival, role in rivals:
            if rival is not None:
                found = ratios(ours, rival, figure)
                title = f"{role}, {rival['title']}," if role == "the fastest peer" else role
                lines.append(
                    f"Sluice / {title} {when}: {statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"
                )
    return lines


def in_rounds(results: Mapping[str, Any]) -> Measurement:
    """Return what scripts/bench --compare reads; another release of a peer is another peer."""
    titles = {
        each["name"]: each["title"] if each["name"] in {OURS, BARE} else f"{each['title']} {each['version']}"
        for each in results["systems"]
    }
    figures = [
        Measured(titles[each["name"]] + what, unit, values(each, key))
        for each in results["systems"]
        for key, (what, unit) in COMPARED.items()
        if len(values(each, key)) == len(each["rounds"])
    ]
    settings = settings_of(
        results["arguments"], models=results["models"], arrangement=results["arrangement"], photos=results["photos"]
    )
    return Measurement("peers", results["machine"], settings, titles.get(BARE, ""), figures)


def plot(results: Mapping[str, Any], path: Path) -> None:
    """Draw images per second, processor time an image and memory of each system."""
    in_order = sorted(results["systems"], key=lambda each: median(each, "rate") or 0.0)
    names = [f"{each['title']} {each['version']}" for each in in_order]
    colours = ["#4477aa" if each["name"] == OURS else "#bbbbbb" for each in in_order]
    import matplotlib as mpl  # noqa: PLC0415 - takes a second

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice above

    figure, axes = plt.subplots(1, 3, figsize=(13, 0.6 + 0.5 * len(names)), layout="constrained", sharey=True)
    rates = [values(each, "rate") for each in in_order]
    middle = [statistics.median(found) for found in rates]
    spread = [
        [mid - min(found) for mid, found in zip(middle, rates, strict=True)],
        [max(found) - mid for mid, found in zip(middle, rates, strict=True)],
    ]
    _bars(axes[0], names, middle, colours, "images/s after its start", 1)
    axes[0].errorbar(middle, names, xerr=spread, fmt="none", ecolor="#333333", capsize=3)
    cpu = [sum(median(each, f"cpu_ms_{part}") or 0.0 for part in ("system", "s3", "database")) for each in in_order]
    _bars(axes[1], names, cpu, colours, "processor ms an image, servers included", 1)
    memory = [median(each, "peak_mib_system") or 0.0 for each in in_order]
    _bars(axes[2], names, memory, colours, "peak memory, MiB", 0)
    figure.suptitle(f"{results['models']['sluice']}, {results['machine']['processor']}")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _bars(axes: Any, names: list[str], widths: list[float], colours: list[str], title: str, digits: int) -> None:  # noqa: ANN401 - matplotlib's
    axes.barh(names, widths, color=colours)
    axes.set_xlabel(title)
    axes.margins(x=0.2)
    for place, width in enumerate(widths):
        axes.text(width, place, f"  {width:.{digits}f}", va="bottom")
