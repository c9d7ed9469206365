"""`sluice models`: which models there are, what they say of themselves, and which version of each is live."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from sluice.cli import build, trials
from sluice.cli.card import read_card
from sluice.cli.connect import open_database, settings_of_a_person
from sluice.cli.screen import console, safe
from sluice.cli.waiting import Wait, wait_until
from sluice.domain import Model
from sluice.errors import ConfigurationError, NotServed
from sluice.ledger import Database, LedgerCursor, serving
from sluice.ledger import models as ledger_models
from sluice.ledger.serving import VersionState
from sluice.store.card import archived_card

EXAMPLES: Final = """\
Examples:

  sluice models build drugs.toml
  sluice models publish drugs.mar
  sluice models register efficientnet-lite0.mar --promote
  sluice models fetch s3://models/resnet18.mar /models
  sluice models register http://torchserve:8080/predictions/resnet18/1.1
  sluice models list
  sluice models show resnet18@1.1
  sluice models trial resnet18@1.1 --share 0.1 --shadow
  sluice models trials
  sluice models promote resnet18@1.1
  sluice models retire resnet18@1.0"""

app = typer.Typer(
    help="Build, publish, list, show, register, fetch, try, promote and retire models.",
    no_args_is_help=True,
    epilog=EXAMPLES,
)
app.command("build", epilog=build.EXAMPLES)(build.build)
app.command("trial", epilog=trials.TRIAL_EXAMPLES)(trials.trial)
app.command("trials", epilog=trials.TRIALS_EXAMPLES)(trials.show_trials)


LABELS_SHOWN: Final = 20
SERVED_SECONDS: Final = 120.0
Served = Annotated[
    float, typer.Option("--wait", min=0, metavar="SECONDS", help="Wait so long for each TorchServe to serve it.")
]
Version = Annotated[str, typer.Argument(metavar="NAME@VERSION", help="A registered version.")]


@app.command("list", epilog="Example:\n\n  sluice models list")
def list_models() -> None:
    """List the registered versions; jobs without --model use the live one."""
    with open_database() as database:
        found = database.run(ledger_models.list_models)
        states = database.run(serving.states, [model.id for model in found])
    screen = console()
    if not found:
        screen.print("no model yet: register one with `sluice models register ARCHIVE.mar --promote`")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("model", "state", "labels", "digest"):
        table.add_column(name, overflow="fold", justify="right" if name == "labels" else "left")
    for model in found:
        table.add_row(
            safe(f"{model.name}@{model.version}"),
            _state(model, states.get(model.id)),
            f"{len(model.labels):,}",
            safe(model.digest[:12]),
        )
    screen.print(table)


@app.command(
    epilog="Examples:\n\n  sluice models register efficientnet-lite0.mar --promote\n"
    "  sluice models register http://torchserve:8080/predictions/resnet18/1.1 --promote --wait 300"
)
def register(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A .mar file, or where a TorchServe serves it: http://HOST:PORT/predictions/NAME/VERSION.",
        ),
    ],
    live: Annotated[bool, typer.Option("--promote", help="Also make it the live version of its name.")] = False,
    wait: Wait = 0.0,
) -> None:
    """Make a model known, so that jobs can name it; once more changes nothing.

    For an address, it requests the model's card from TorchServe, from all
    addresses of the name until one returns it. With --wait, TorchServe,
    the database and its tables may still be starting.
    """
    settings = settings_of_a_person()
    deadline = time.monotonic() + wait
    card = wait_until(deadline, lambda: read_card(source, settings))

    def work(cursor: LedgerCursor) -> Model:
        model = ledger_models.register(
            cursor, card["name"], card["version"], card["digest"], card["preprocessing"], card["labels"], card
        )
        return ledger_models.promote(cursor, model.name, model.version) if live else model

    with open_database(settings) as database:
        attempt = database.try_once if wait else database.run
        model = wait_until(deadline, lambda: attempt(work))
    print(f"{model.name}@{model.version} is registered" + (" and live" if model.live else ""))
    if not model.live:
        print(f"`sluice models promote {model.name}@{model.version}` makes it live")


@app.command(epilog="Examples:\n\n  sluice models show resnet18@1.1\n  sluice models show resnet18@1.1 --json")
def show(
    model: Version,
    whole: Annotated[bool, typer.Option("--json", help="The whole card, with all labels, as JSON.")] = False,
) -> None:
    """Show the card of a registered version: what it is, what it was made from, how well it did."""
    with open_database() as database:
        found = database.run(ledger_models.find, *split(model))
        told = database.run(serving.states, [found.id] if found else [])
    if found is None:
        raise ConfigurationError(f"{model} is not registered: `sluice models list` shows what is")
    card = ledger_models.card_of(found)
    if whole:
        print(json.dumps(card, indent=1))
        return
    table = Table.grid(padding=(0, 2))
    of = told.get(found.id)
    state = _state(found, of) or "not live"
    why = [("message", of.message)] if of and of.message and not found.live else []
    for name, value in [("model", f"{found.name}@{found.version} ({state})"), *why, *_lines(card)]:
        table.add_row(safe(name), safe(value))
    console().print(table)


@app.command(
    epilog="Examples:\n\n  sluice models publish drugs.mar\n  sluice models publish drugs.mar --promote --wait 300"
)
def publish(
    archive: Annotated[Path, typer.Argument(metavar="FILE", help="A .mar file, as `sluice models build` makes it.")],
    live: Annotated[bool, typer.Option("--promote", help="Also make it live, once it is served everywhere.")] = False,
    wait: Served = SERVED_SECONDS,
) -> None:
    """Put an archive into the model store, and have every TorchServe serve it.

    The archive is looked at first: one with other bytes than its card
    says, a pickle, compressed members or odd names is refused. Once more
    changes nothing, and has a version that failed tried again.
    """
    from sluice.store.publishing import publish as into_store  # noqa: PLC0415 - brings boto3

    settings = settings_of_a_person()
    with open_database(settings) as database:
        model = into_store(archive, settings, database)
        print(f"{model.name}@{model.version} is published")
        if live:
            _promote(database, model.name, model.version, wait)
    if not live and not model.live:
        print(f"`sluice models promote {model.name}@{model.version}` makes it live, once every TorchServe serves it")


@app.command(epilog="Examples:\n\n  sluice models promote resnet18@1.1\n  sluice models promote drugs@2.0 --wait 600")
def promote(model: Version, wait: Served = SERVED_SECONDS) -> None:
    """Make a version the live one of its name. Jobs that have begun keep the model they began with.

    A published version becomes live once every TorchServe with an agent
    serves it.
    """
    with open_database() as database:
        _promote(database, *split(model), wait)


@app.command(epilog="Examples:\n\n  sluice models retire resnet18@1.0\n  sluice models retire resnet18@1.0 --undo")
def retire(model: Version, undo: Annotated[bool, typer.Option("--undo", help="Let it be used again.")] = False) -> None:
    """Let no new job ask for a version, nor anybody promote it.

    Jobs that have begun with it go on. The live version can't be
    retired: promote another one first.
    """
    name, version = split(model)
    with open_database() as database:
        database.run(partial(ledger_models.retire, name=name, version=version, undo=undo))
    print(f"{name}@{version} may be used again" if undo else f"{name}@{version} is retired")


@app.command(epilog="Example:\n\n  sluice models fetch s3://models/efficientnet-lite0.mar /models")
def fetch(
    source: Annotated[str, typer.Argument(metavar="S3-URL", help="s3://bucket/key.mar.")],
    folder: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="A model store; the archive keeps its name.")],
) -> None:
    """Fetch an archive from a bucket; it appears in the folder when it is whole and has a card."""
    from sluice.objects import files  # noqa: PLC0415 - brings boto3

    bucket, key = files.split(source)
    name = key.rpartition("/")[2]
    if not name.endswith(".mar"):
        raise ConfigurationError(f"{source!r} names no archive: expected s3://bucket/key.mar")
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{name}.{os.getpid()}.part"
    try:
        with closing(files.BucketFiles(bucket, settings_of_a_person())) as opened:
            opened.download(key, part)
        card = archived_card(part, source)
        part.replace(folder / name)
    finally:
        part.unlink(missing_ok=True)
    print(f"{safe(folder / name)}: {safe(card['name'])}@{safe(card['version'])}, digest {safe(card['digest'])}")


def _promote(database: Database, name: str, version: str, seconds: float) -> None:
    """Promote a version, after waiting for whoever doesn't serve it yet."""
    deadline = time.monotonic() + seconds
    promoted = wait_until(deadline, lambda: database.run(ledger_models.promote, name, version), missing=(NotServed,))
    print(f"{promoted.name}@{promoted.version} is live")


def split(model: str) -> tuple[str, str]:
    """Return name and version of NAME@VERSION."""
    name, separator, version = model.partition("@")
    if not separator or not name or not version:
        raise ConfigurationError(f"{model!r} names no version: write NAME@VERSION, as `sluice models list` shows it")
    return name, version


def _state(model: Model, told: VersionState | None) -> str:
    """Return what a person wants to know of a version's state, in a word or two."""
    if model.live or model.retired or told is None or told.state == "registered":
        return "live" if model.live else "retired" if model.retired else ""
    return told.state if told.state != "published" else f"{told.served} of {told.servers} serve it"


def _lines(card: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a person wants to know of a card; long lists are cut."""
    for name, value in card.items():
        if name in {"name", "version", "built_from"} or value is None:
            continue
        if name == "labels":
            more = len(value) - LABELS_SHOWN
            yield name, ", ".join(value[:LABELS_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
        elif isinstance(value, dict):
            yield name, ", ".join(f"{part} {each}" for part, each in value.items())
        else:
            yield name, str(value)
