"""`sluice trainings`: follow trainings, and see what came of them."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from sluice.cli.connect import open_database
from sluice.cli.screen import console, duration, safe, state_text, warn
from sluice.errors import LedgerError
from sluice.ledger import Database, LedgerCursor, trainings
from sluice.ledger import models as ledger_models
from sluice.ledger.rows import ENDED
from sluice.ledger.trainings import Training

EXAMPLES: Final = """\
Examples:

  sluice trainings list
  sluice trainings show last
  sluice trainings cancel 3
  sluice trainings retry 3"""
POLL_SECONDS: Final = 0.5
LINE_SECONDS: Final = 5.0

TrainingArgument = Annotated[str, typer.Argument(metavar="TRAINING", help="A training's number, or 'last'.")]

app = typer.Typer(help="List, show, cancel and retry trainings.", no_args_is_help=True, epilog=EXAMPLES)


@app.command("list", epilog="Example:\n\n  sluice trainings list")
def list_trainings() -> None:
    """List the newest trainings."""
    with open_database() as database:
        found = database.run(trainings.newest)
    screen = console()
    if not found:
        screen.print("no training yet: ask for one with `sluice train s3://bucket/labelled/ --name NAME`")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("training", "model", "state", "source", "progress"):
        table.add_column(column, overflow="fold", justify="right" if column == "training" else "left")
    for each in reversed(found):
        model = f"{each.name}@{each.version}" if each.version else each.name
        source = safe(each.source or "(rows)")
        table.add_row(str(each.id), safe(model), state_text(each.state), source, safe(_far(each)))
    screen.print(table)


@app.command(epilog="Examples:\n\n  sluice trainings show 3\n  sluice trainings show last --wait")
def show(
    training: TrainingArgument, wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end.")] = False
) -> None:
    """Show how far a training is, what was found in its pictures, and what came of it."""
    with open_database() as database:
        found = database.run(_find, training)
    if wait:
        wait_for(found.id, console())
    else:
        _sum_up(found, console())


@app.command(epilog="Example:\n\n  sluice trainings cancel 3")
def cancel(training: TrainingArgument) -> None:
    """Cancel a training; its trainer stops within seconds."""
    with open_database() as database:
        changed = database.run(trainings.cancel, database.run(_find, training).id)
    print(f"training {changed.id} is {changed.state}")


@app.command(epilog="Example:\n\n  sluice trainings retry 3")
def retry(training: TrainingArgument) -> None:
    """Let a failed or cancelled training go on where it was."""
    with open_database() as database:
        changed = database.run(trainings.retry, database.run(_find, training).id)
    print(f"training {changed.id} is {changed.state}")


def wait_for(training_id: int, screen: Console) -> None:
    """Follow a training to its end and say what came of it; exit with 1 if nothing did."""
    with open_database() as database:
        follow = _bar if screen.is_terminal else _lines
        found = follow(database, training_id, screen)
    _sum_up(found, screen)
    if found.state != "done":
        raise typer.Exit(1)


def _bar(database: Database, training_id: int, screen: Console) -> Training:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=screen) as shown:
        task = shown.add_task(f"training {training_id}", total=None, told="")
        while True:
            found = database.run(_get, training_id)
            shown.update(task, completed=found.done, total=found.total or None, told=_far(found))
            if found.state in ENDED:
                return found
            time.sleep(POLL_SECONDS)


def _lines(database: Database, training_id: int, screen: Console) -> Training:
    said, at = ("", "", ""), 0.0
    while True:
        found = database.run(_get, training_id)
        news, now = (found.state, found.stage, found.message), time.monotonic()
        if news != said or now - at >= LINE_SECONDS:
            said, at = news, now
            parts = [f"training {found.id} {found.state}", *([safe(_far(found))] if _far(found) else [])]
            screen.print(Text(": ".join(parts)), soft_wrap=True)
        if found.state in ENDED:
            return found
        time.sleep(POLL_SECONDS)


def _sum_up(found: Training, screen: Console) -> None:
    table = Table.grid(padding=(0, 2))
    model = f"{found.name}@{found.version}" if found.version else found.name
    table.add_row("training", f"{found.id}: {safe(model)}")
    table.add_row("state", state_text(found.state))
    table.add_row("progress", safe(_far(found)))
    for finding in found.findings:
        table.add_row("found", safe(finding))
    if found.state == "done":
        for name, value in _metrics(found).items():
            table.add_row(safe(name), safe(value))
        table.add_row("look", f"sluice models show {model}")
        table.add_row("use", f"sluice models promote {model}")
    screen.print(table)
    if found.state == "failed":
        warn(found.message)


def _metrics(found: Training) -> dict[str, object]:
    with open_database() as database:
        model = database.run(ledger_models.get, found.model_id or 0)
    told = model.card.get("metrics") if model else None
    return dict(told) if isinstance(told, dict) else {}


def _far(training: Training) -> str:
    """Say in a line how far a training is."""
    if training.state == "pending" and not training.message:
        return "waits for a trainer (`python -m trainer`)"
    if training.state != "running":
        return training.message
    parts = [training.stage or "begins"]
    if training.total:
        parts.append(f"{training.done:,} of {training.total:,}")
    if training.eta_seconds is not None:
        parts.append(f"{duration(training.eta_seconds)} left of this step")
    return ", ".join([*parts, *([training.message] if training.message else [])])


def _find(cursor: LedgerCursor, asked: str) -> Training:
    if asked == "last":
        found = trainings.last(cursor)
        if found is None:
            raise LedgerError("there is no training yet: `sluice train` asks for one")
        return found
    if not asked.isascii() or not asked.isdigit():
        raise typer.BadParameter(f"{asked!r} is neither a number nor 'last': `sluice trainings list` shows the numbers")
    return _get(cursor, int(asked))


def _get(cursor: LedgerCursor, training_id: int) -> Training:
    found = trainings.get(cursor, training_id)
    if found is None:
        raise LedgerError(f"there is no training {training_id}: `sluice trainings list` shows what there is")
    return found
