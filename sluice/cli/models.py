"""`sluice models`: which models there are, and which version of each is live."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from sluice.cli.asking import open_database
from sluice.cli.screen import console, safe
from sluice.errors import ConfigurationError
from sluice.ledger import Cursor, Model
from sluice.ledger import models as ledger_models

CARD: Final = "model.json"
CARD_MAX_BYTES: Final = 16 * 1024 * 1024
FIELDS: Final[dict[str, type]] = {"name": str, "version": str, "digest": str, "preprocessing": dict, "labels": list}
DIGEST_LENGTH: Final = 64

EXAMPLES: Final = """\
Examples:

  sluice models register efficientnet-lite0.mar --promote
  sluice models list
  sluice models promote resnet18@1.1"""

app = typer.Typer(help="List and register models; say which version is live.", no_args_is_help=True, epilog=EXAMPLES)


@app.command("list", epilog="Example:\n\n  sluice models list")
def list_models() -> None:
    """List the registered versions; jobs without --model use the live one."""
    with open_database() as database:
        found = database.run(ledger_models.list_models)
    screen = console()
    if not found:
        screen.print("no model yet: `sluice models register ARCHIVE.mar --promote` makes one known")
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


@app.command(epilog="Example:\n\n  sluice models register efficientnet-lite0.mar --promote")
def register(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="A .mar file that scripts/build-model made.")],
    live: Annotated[bool, typer.Option("--promote", help="Make it the live version of its name too.")] = False,
) -> None:
    """Make an archive's model known, so that jobs can name it; once more changes nothing."""
    card = read_card(archive)

    def work(cursor: Cursor) -> Model:
        model = ledger_models.register(
            cursor, card["name"], card["version"], card["digest"], card["preprocessing"], card["labels"]
        )
        return ledger_models.promote(cursor, model.name, model.version) if live else model

    with open_database() as database:
        model = database.run(work)
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
        promoted = database.run(lambda cursor: ledger_models.promote(cursor, name, version))
    print(f"{promoted.name}@{promoted.version} is live")


def read_card(archive: Path) -> dict[str, Any]:
    """Read what an archive says of its model."""
    from sluice.images import Preprocessing  # noqa: PLC0415 - brings numpy and Pillow

    try:
        with zipfile.ZipFile(archive) as opened:
            if opened.getinfo(CARD).file_size > CARD_MAX_BYTES:
                raise ConfigurationError(f"{archive}: {CARD} is larger than {CARD_MAX_BYTES} bytes: build it again")
            card = json.loads(opened.read(CARD))
    except OSError as error:
        raise ConfigurationError(f"{archive} can't be read: {error.strerror}: name a .mar file") from error
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ConfigurationError(
            f"{archive} is no model archive with a {CARD} ({error}): make one with scripts/build-model"
        ) from error
    wrong = [
        name for name, kind in FIELDS.items() if not isinstance(card, dict) or not isinstance(card.get(name), kind)
    ]
    if wrong:
        raise ConfigurationError(
            f"{archive}: {CARD} has no usable {', '.join(wrong)}: make it with scripts/build-model"
        )
    if (
        len(card["digest"]) != DIGEST_LENGTH
        or not card["labels"]
        or not all(isinstance(x, str) for x in card["labels"])
    ):
        raise ConfigurationError(f"{archive}: {CARD} needs a SHA-256 digest and labels that are texts: build it again")
    try:
        Preprocessing.from_dict(card["preprocessing"])
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{archive}: {CARD}: {error}") from error
    return dict(card)
