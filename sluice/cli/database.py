"""`sluice db`: bring the tables up or down."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from sluice.cli.asking import settings_of_a_person
from sluice.settings import read_settings

EXAMPLES: Final = """\
Examples:

  sluice db upgrade
  sluice db current && echo up to date
  sluice db downgrade base --yes"""

app = typer.Typer(help="Make, update or remove the database's tables.", no_args_is_help=True, epilog=EXAMPLES)


@app.command(epilog="Example:\n\n  sluice db upgrade")
def upgrade(
    revision: Annotated[str, typer.Argument(help="A revision; left out: the newest.")] = "head",
) -> None:
    """Make the tables, or bring them up to date; waits for a database that is starting."""
    from sluice.ledger import schema  # noqa: PLC0415 - brings alembic and SQLAlchemy

    settings = read_settings()
    schema.upgrade(settings, revision)
    print(f"the tables are at revision {schema.current(settings)[0]}")


@app.command(epilog="Example:\n\n  sluice db downgrade base --yes")
def downgrade(
    revision: Annotated[str, typer.Argument(help="A revision, or 'base': no table is left.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Take the tables back to an older revision; rows are lost."""
    from sluice.ledger import schema  # noqa: PLC0415 - brings alembic and SQLAlchemy

    settings = settings_of_a_person()
    if not yes:
        typer.confirm(f"Rows will be lost. Take the tables back to {revision!r}?", abort=True)
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
    print(f"{found or 'no tables'}, the newest is {newest}: run `sluice db upgrade`")
    raise typer.Exit(1)
