"""`sluice db`: upgrade or downgrade the tables."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

from sluice.cli.connect import settings_of_a_person
from sluice.cli.waiting import Wait, wait_until
from sluice.settings import read_settings

EXAMPLES: Final = """\
Examples:

  sluice db upgrade --wait 300
  sluice db current && echo up to date
  sluice db downgrade base --yes"""

app = typer.Typer(help="Create, migrate or remove the database's tables.", no_args_is_help=True, epilog=EXAMPLES)


@app.command(epilog="Examples:\n\n  sluice db upgrade\n  sluice db upgrade --wait 300")
def upgrade(
    revision: Annotated[str, typer.Argument(help="A revision; default: the newest.")] = "head",
    wait: Wait = 0.0,
) -> None:
    """Create the tables, or migrate them to a newer revision.

    Waits for a database that is starting (SLUICE_DATABASE_PATIENCE).
    Leaves tables of a newer version as they are: this version can use them.
    """
    from sluice.ledger import schema  # noqa: PLC0415 - brings alembic and SQLAlchemy

    settings = read_settings()
    if wait:
        settings = settings.model_copy(update={"database_patience": 0.0})

    def attempt() -> tuple[str | None, str | None]:
        schema.upgrade(settings, revision)
        return schema.current(settings)

    found, newest = wait_until(time.monotonic() + wait, attempt)
    if schema.is_newer(found):
        print(f"the tables are at revision {found}, this version's are {newest}: they serve it as they are")
    else:
        print(f"the tables are at revision {found}")


@app.command(epilog="Example:\n\n  sluice db downgrade base --yes")
def downgrade(
    revision: Annotated[str, typer.Argument(help="A revision, or 'base' to drop all tables.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Downgrade the tables to an older revision; rows are lost."""
    from sluice.ledger import schema  # noqa: PLC0415 - brings alembic and SQLAlchemy

    settings = settings_of_a_person()
    if not yes:
        typer.confirm(f"Rows will be lost. Downgrade the tables to {revision!r}?", abort=True)
    schema.downgrade(settings, revision)
    print(f"the tables are at revision {schema.current(settings)[0] or 'base'}")


@app.command(epilog="Example:\n\n  sluice db current")
def current() -> None:
    """Show the tables' revision; exit code 1 if it is not the newest."""
    from sluice.ledger import schema  # noqa: PLC0415 - brings alembic and SQLAlchemy

    found, newest = schema.current(settings_of_a_person())
    if found == newest:
        print(f"{found} (the newest)")
        return
    if schema.is_newer(found):
        print(f"{found} (of a newer version of Sluice; this one's newest is {newest})")
        return
    print(f"{found or 'no tables'}, the newest is {newest}: run `sluice db upgrade`")
    raise typer.Exit(1)
