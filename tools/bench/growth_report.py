"""The table and the plot of `scripts/bench growth`."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any, Final

MEASURES: Final = {"ms": "ms", "rows": "rows read", "pages": "pages looked at", "disk": "pages from disk"}
DRAWN: Final = {
    "list 1,000 new keys": "#4477aa",
    "lease 1,000, from the first id": "#ee6677",
    "commit 250": "#228833",
    "status of a job": "#ccbb44",
    "page by score": "#66ccee",
    "prune, dry run": "#aa3377",
}


def median(size: dict[str, Any], name: str, measure: str) -> float:
    """Return the median of a measure of an operation at one size."""
    return float(statistics.median(cost[measure] for cost in size["costs"][name]))


def growth(results: dict[str, Any], name: str, measure: str) -> float:
    """Return how much more the largest ledger costs than the smallest; of nothing, nothing more is 1."""
    first, last = (median(results["sizes"][place], name, measure) for place in (0, -1))
    return last / first if first else float(last == 0) or float("inf")


def table(results: dict[str, Any]) -> str:
    """Return the tables, as Markdown."""
    sizes = results["sizes"]
    names = [f"{size['rows']:,}" for size in sizes]
    lines = [
        *(f"{key}: {value}" for key, value in results["machine"].items()),
        f"processors' time that the host gave to others: {results['stolen']:.0%}",
        "",
        f"| what ({', '.join(names)} done rows) | {' | '.join(MEASURES.values())} | time, last to first |",
        "| --- " * (len(MEASURES) + 2) + "|",
    ]
    for name in sizes[0]["costs"]:
        cells = [
            ", ".join(f"{median(size, name, each):,.{1 if each == 'ms' else 0}f}" for size in sizes)
            for each in MEASURES
        ]
        lines.append(f"| {name} | {' | '.join(cells)} | {growth(results, name, 'ms'):.2f} |")
    checks = [size["check_seconds"] for size in sizes]
    if None not in checks:
        lines.append(f"\n`sluice check` reads every row: {', '.join(f'{each:.0f} s' for each in checks)}")
    for what in ("index_bytes", "column_bytes"):
        lines += [
            "",
            f"| {what.replace('_', ', ')} of a row | {' | '.join(names)} |",
            "| --- " * (len(names) + 1) + "|",
        ]
        for name in sizes[0][what]:
            lines.append(f"| {name} | {' | '.join(f'{size[what][name]:.0f}' for size in sizes)} |")
        lines.append(f"| together | {' | '.join(f'{sum(size[what].values()):.0f}' for size in sizes)} |")
    return "\n".join(lines)


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw what some operations cost by the number of done rows, and what a row takes."""
    import matplotlib as mpl  # noqa: PLC0415 - takes a second

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice above

    sizes = results["sizes"]
    figure, axes = plt.subplots(1, 4, figsize=(16, 4.2), layout="constrained", width_ratios=(3, 3, 3, 2))
    rows = [size["rows"] for size in sizes]
    for axis, measure in zip(axes, ("ms", "rows", "pages"), strict=False):
        for name, colour in DRAWN.items():
            axis.plot(rows, [max(1, median(size, name, measure)) for size in sizes], "o-", color=colour, label=name)
        axis.set(xscale="log", yscale="log", xlabel="done rows", title=MEASURES[measure])
        axis.set_ylim(bottom=0.8)
        axis.grid(visible=True, alpha=0.3)
    axes[0].legend(fontsize="small")
    found = sizes[-1]["index_bytes"]
    axes[3].barh(list(found), list(found.values()), color="#4477aa")
    axes[3].invert_yaxis()
    axes[3].set_title(f"bytes a row: {sum(found.values()):.0f}")
    figure.suptitle(results["machine"]["processor"])
    figure.savefig(path, dpi=80)
    plt.close(figure)
