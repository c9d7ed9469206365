"""`sluice drift`: whether what comes in, and what models say of it, is still as it was."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from sluice.cli.connect import open_database, settings_of_a_person
from sluice.cli.screen import console, safe
from sluice.drift import Statistic
from sluice.drift.buckets import RATES
from sluice.errors import ConfigurationError
from sluice.ledger import Database, drift_pages, drifting, models, references
from sluice.ledger.drift_pages import DriftFinding, WatchedVersion

STYLES: Final = {"alarm": "red", "calm": "green"}

EXAMPLES: Final = """\
Examples:

  sluice drift                        all versions that something was counted of
  sluice drift drugs                  the live version of one model, with the pictures that moved it
  sluice drift drugs@2.0 --reset      what comes next is as it shall be: freeze a new reference

In SQL:

  SELECT model, statistic, psi, moved FROM drift WHERE state = 'alarm';
  SELECT day, label, SUM(pictures) FROM label_days WHERE model_id = 3 GROUP BY day, label;"""


def drift(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="NAME (its live version) or NAME@VERSION.")] = "",
    reset: Annotated[bool, typer.Option("--reset", help="Freeze a new reference from the next whole window.")] = False,
) -> None:
    """Show whether pictures, labels and scores are as they were when a version became live.

    Each window of SLUICE_DRIFT_WINDOW pictures is compared with the
    version's reference. Exit code 1: something has drifted.
    """
    if reset and not model:
        raise ConfigurationError("whose reference is to be frozen anew? Name a model: sluice drift NAME --reset")
    settings = settings_of_a_person()
    with open_database(settings) as database:
        for number in database.run(drifting.models_to_count):
            while database.run(drifting.count, number, settings.drift_window, settings.drift_days):
                pass
        if reset:
            found = database.run(models.resolve, model)
            database.run(references.reset, found.id)
            print(f"the next {settings.drift_window:,} pictures of {found.name}@{found.version} are its new reference")
            return
        watched = database.run(drift_pages.versions, database.run(models.resolve, model).id if model else None)
        _show(watched, settings.drift_window)
        if model:
            for version in watched:
                _show_findings(database, version)
    if any(version.state == "alarm" for version in watched):
        raise typer.Exit(1)


def _show(watched: list[WatchedVersion], size: int) -> None:
    if not watched:
        print("nothing was counted yet: a model's reference is its first window of pictures")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("model", "state", "drifted"):
        table.add_column(name, overflow="fold")
    for version in watched:
        moved = [each.statistic for each in version.findings if each.alarm]
        told = ", ".join(moved) or (f"{version.collected:,} of {size:,}" if version.state == "collecting" else "")
        name = f"{version.model}{' (live)' if version.live else ''}"
        table.add_row(safe(name), Text(version.state, style=STYLES.get(version.state, "")), safe(told))
    console().print(table)


def _show_findings(database: Database, version: WatchedVersion) -> None:
    if not version.findings:
        return
    screen = console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("statistic")
    for name in ("psi", "beyond chance", "reference", "now"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("grown", overflow="fold")
    for each in version.findings:
        style = STYLES["alarm"] if each.alarm else ""
        numbers = ("" if each.statistic in RATES else f"{each.psi:.3f}", f"{each.beyond:.1f} sd")
        values = (shown_value(each, each.before), shown_value(each, each.now))
        table.add_row(Text(each.statistic, style=style), *numbers, *values, safe(each.moved))
    screen.print()
    screen.print(f"window {version.window_no}, until {version.ended:%Y-%m-%d %H:%M:%S} UTC:")
    screen.print(table)
    for each in version.findings:
        for picture in database.run(drift_pages.pictures, each):
            result = picture.result
            screen.print(f"  {each.statistic}: {safe(result.label)} {result.score:.3f}  {safe(result.url)}")


def shown_value(finding: DriftFinding, value: float | None) -> str:
    """Return a mean or a rate for people."""
    if value is None:
        return ""
    if finding.statistic in RATES:
        return f"{100 * value:.1f} %"
    return f"{value:.3f}" if finding.statistic == Statistic.SCORE else f"{value:.1f}"
