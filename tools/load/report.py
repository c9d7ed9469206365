"""The load's table and plot."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any, Final

from tools.load.alone import added

HEADS: Final = ("people", "asked", "answers/s", "ratio", "p50 ms", "p95 ms", "refused", "failed")
WIDTHS: Final = (8, 12, 11, 8, 9, 9, 9, 8)


def table(results: dict[str, Any]) -> str:
    """Return the table."""
    lines = [*(f"{key}: {value}" for key, value in results["machine"].items()), f"model: {results['model']}", ""]
    lines += [*_alone(results["alone"]), ""]
    lines.append(_row(HEADS))
    for each in results["steps"]:
        ratio = each["gateway"]["rate"] / max(each["direct"]["rate"], 1e-9)
        lines.append(_step(each["users"], "TorchServe", each["direct"], ""))
        lines.append(_step(each["users"], "gateway", each["gateway"], f"{ratio:.2f}"))
    lines.append(_step(results["after"]["users"], "after it", results["after"], ""))
    lines += ["", f"the last refusal after the largest step: {results['after']['last_refusal']:.1f} s after its end"]
    lines.append(f"memory of a gateway at the end: {results['peak_mib']:.0f} MiB")
    lines.append(f"processors' time that the host gave to others: {results['stolen']:.0%}")
    failures = {
        f"{each['users']} people, {who}": each[who]["failed"]
        for each in results["steps"]
        for who in ("direct", "gateway")
        if each[who]["failed"]
    }
    lines += [f"failures, {where}: {found}" for where, found in failures.items()]
    return "\n".join(lines)


def _alone(found: dict[str, list[float]]) -> list[str]:
    """Return the lines about one person at a time."""
    named = (("TorchServe", "direct"), ("gateway", "gateway"), ("gateway, known", "again"))
    return [
        "one person at a time, ms            p50     p95",
        *(f"  {name:<26}" + "".join(f"{1000 * value:>8.1f}" for value in _p50_p95(found[key])) for name, key in named),
        f"  gateway minus TorchServe  {1000 * added(found):>8.1f}",
    ]


def _p50_p95(seconds: list[float]) -> tuple[float, float]:
    return statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]


def _row(values: tuple[str, ...]) -> str:
    return "".join(f"{value:>{width}}" for value, width in zip(values, WIDTHS, strict=True))


def _step(users: int, who: str, found: dict[str, Any], ratio: str) -> str:
    return _row(
        (
            str(users),
            who,
            f"{found['rate']:.1f}",
            ratio,
            f"{1000 * found['p50']:.0f}",
            f"{1000 * found['p95']:.0f}",
            str(found["refused"]),
            str(sum(found["failed"].values())),
        )
    )


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw answers per second and latency by the number of people."""
    import matplotlib as mpl  # noqa: PLC0415 - takes a second, and --help needs none of it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice above

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    users = [each["users"] for each in results["steps"]]
    for who, name, colour in (("direct", "TorchServe", "#999999"), ("gateway", "gateway", "#4477aa")):
        found = [each[who] for each in results["steps"]]
        left.plot(users, [each["rate"] for each in found], "o-", color=colour, label=name)
        right.plot(users, [1000 * each["p50"] for each in found], "o-", color=colour, label=f"{name}, p50")
        right.plot(users, [1000 * each["p95"] for each in found], "o--", color=colour, label=f"{name}, p95")
    left.set_ylabel("answers a second")
    right.set_ylabel("milliseconds to an answer")
    for axes in (left, right):
        axes.set_xlabel("people")
        axes.set_ylim(bottom=0)
        axes.legend()
    figure.suptitle(results["machine"]["processor"])
    figure.savefig(path, dpi=110)
    plt.close(figure)
