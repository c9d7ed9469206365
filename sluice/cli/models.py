"""`sluice models`: the registered models, and the live version of each."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from sluice.cli.card import archived_card, read_card
from sluice.cli.connect import open_database, settings_of_a_person
from sluice.cli.screen import console, safe
from sluice.cli.waiting import Wait, wait_until
from sluice.domain import Model
from sluice.errors import ConfigurationError
from sluice.ledger import LedgerCursor
from sluice.ledger import models as ledger_models

EXAMPLES: Final = """\
Examples:

  sluice models register efficientnet-lite0.mar --promote
  sluice models fetch s3://models/resnet18.mar /models
  sluice models register http://torchserve:8080/predictions/resnet18/1.1
  sluice models list
  sluice models promote resnet18@1.1"""

app = typer.Typer(help="List, register, fetch and promote models.", no_args_is_help=True, epilog=EXAMPLES)


@app.command("list", epilog="Example:\n\n  sluice models list")
def list_models() -> None:
    """List the registered versions; jobs without --model use the live one."""
    with open_database() as database:
        found = database.run(ledger_models.list_models)
    screen = console()
    if not found:
        screen.print("no model yet: register one with `sluice models register ARCHIVE.mar --promote`")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("model", "live", "labels", "digest"):
        table.add_column(name, overflow="fold", justify="right" if name == "labels" else "left")
    for model in found:
        table.add_row(
            safe(f"{model.name}@{model.version}"),
            "live" if model.live else "",
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
            cursor, card["name"], card["version"], card["digest"], card["preprocessing"], card["labels"]
        )
        return ledger_models.promote(cursor, model.name, model.version) if live else model

    with open_database(settings) as database:
        attempt = database.try_once if wait else database.run
        model = wait_until(deadline, lambda: attempt(work))
    print(f"{model.name}@{model.version} is registered" + (" and live" if model.live else ""))
    if not model.live:
        print(f"`sluice models promote {model.name}@{model.version}` makes it live")


@app.command(epilog="Example:\n\n  sluice models promote resnet18@1.1")
def promote(model: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="A registered version.")]) -> None:
    """Make a version the live one of its name. Jobs that have begun keep the model they began with."""
    name, separator, version = model.partition("@")
    if not separator or not name or not version:
        raise ConfigurationError(f"{model!r} names no version: write NAME@VERSION, as `sluice models list` shows it")
    with open_database() as database:
        promoted = database.run(ledger_models.promote, name, version)
    print(f"{promoted.name}@{promoted.version} is live")


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
