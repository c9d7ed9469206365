"""`sluice train`: asks for a new version of a model, trained on labelled pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from sluice.cli.connect import open_database
from sluice.cli.screen import console
from sluice.cli.trainings import wait_for
from sluice.domain import check_label, read_csv
from sluice.errors import ConfigurationError
from sluice.ledger import Database, query, trainings
from sluice.ledger.trainings import SEED_MAX, Wish

EXAMPLES: Final = """\
Examples:

  sluice train s3://photos/labelled/ --name drugs     folders are the labels
  sluice train s3://photos/labels.csv --name drugs    lines of url,label
  sluice train --labels ./labels.csv --name drugs     the same, from here
  sluice train --sql "SELECT url, label FROM results WHERE job = 7" --name drugs
  sluice train s3://photos/labelled/ --name drugs --corrections --wait
  sluice train s3://photos/labelled/ --name drugs --fine-tune
  sluice train s3://photos/one/ --test s3://photos/two/ --name drugs"""


def train(  # noqa: PLR0913, PLR0917 - its options
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="s3://bucket/prefix/ of CLASS/picture, a zip of such, or a .csv."),
    ] = "",
    name: Annotated[str, typer.Option(help="The model's name: small letters, digits, '.' and '-'.")] = "",
    version: Annotated[str, typer.Option(help="Digits and dots; left out: the one after the last.")] = "",
    labels: Annotated[Path | None, typer.Option(metavar="FILE", help="A CSV of url and label on this machine.")] = None,
    sql: Annotated[str, typer.Option(metavar="QUERY", help="A SELECT of url and label.")] = "",
    corrections: Annotated[
        bool, typer.Option("--corrections", help="Learn from what people said of the model's answers, too.")
    ] = False,
    test: Annotated[str, typer.Option(metavar="SOURCE", help="Test on these; left out: on some of the pictures.")] = "",
    base: Annotated[str, typer.Option(metavar="RECIPE", help="The network to begin with.")] = "efficientnet-lite0",
    fine_tune: Annotated[
        bool, typer.Option("--fine-tune", help="Train the last blocks too: better, and takes longer.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, max=SEED_MAX, help="The same data and seed give the same model.")] = 1,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress until the training has ended.")] = False,
) -> None:
    """Have a model trained on labelled pictures.

    Prints the training's number; nothing else where the output is no
    terminal. A trainer (python -m trainer) takes it up. With --wait the
    exit code is 1 if the training fails or is cancelled.
    """
    if not name:
        raise ConfigurationError("a model needs a name: add --name, as in --name drugs")
    if sum(map(bool, (labels, sql))) > 1:
        raise ConfigurationError("--labels and --sql both bring labels: give one of them")
    wish = trainings.check_wish(Wish(name, source, version, test, corrections, base, fine_tune, seed))
    brought = _from_file(labels) if labels else []
    if not sql:
        trainings.check_pictures(wish, brought)
    with open_database() as database:
        if sql:
            brought = _from_sql(database, sql)
        training = database.run(trainings.submit, wish, brought)
    screen = console()
    if wait:
        wait_for(training, screen)
    elif screen.is_terminal:
        print(f"training {training} asked for: `sluice trainings show {training}` says how far it is")
    else:
        print(training)


def _from_file(path: Path) -> list[tuple[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} isn't UTF-8 (byte {error.start}): save it as UTF-8") from error
    rows = read_csv(text, str(path), f"{path.resolve().parent.as_uri()}/")
    return [check_label(url, label) for url, label in rows]


def _from_sql(database: Database, statement: str) -> list[tuple[str, str]]:
    said = database.try_once(query.ask, statement)
    wanted = ("url", "label")
    if not all(name in said.columns for name in wanted):
        raise ConfigurationError(
            f"--sql gives {', '.join(said.columns) or 'no rows'}: it must be a SELECT of url and label"
        )
    places = [said.columns.index(name) for name in wanted]
    rows = [tuple(_text(row[place]) for place in places) for row in said.rows]
    if not rows:
        raise ConfigurationError("--sql gives no rows: try it with `sluice sql`")
    return [check_label(url, label) for url, label in rows]


def _text(value: object) -> object:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value
