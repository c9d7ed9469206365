"""`sluice config`: the settings in effect, without secrets."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import typer
from pydantic import SecretStr
from rich.table import Table
from rich.text import Text

from sluice.cli.screen import console, safe
from sluice.domain import check_source
from sluice.domain.labels import SCHEMES
from sluice.errors import ConfigurationError
from sluice.exports import json_safe
from sluice.ledger.connection import connect_options
from sluice.settings import Settings, read_settings

HIDDEN: Final = "***"

EXAMPLES: Final = """\
Examples:

  sluice config
  sluice config --json | jq .database_url

README.md describes each setting."""


def config(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show the settings in effect; passwords and tokens are hidden."""
    settings = read_settings()
    connect_options(settings)  # rejects an address that is neither MySQL's nor MariaDB's
    check_stores(settings)
    shown = {name: shown_value(settings, name) for name in Settings.model_fields}
    if as_json:
        # Line by line: line breaks between the lines are JSON's own; within values JSON escapes them.
        for line in json.dumps(shown, ensure_ascii=False, indent=1).split("\n"):
            print(json_safe(line))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", no_wrap=True)
    for name, value in shown.items():
        is_set = name in settings.model_fields_set
        table.add_row(
            Text(f"SLUICE_{name.upper()}", style="bold" if is_set else ""),
            "" if value is None else safe(value),
            "set" if is_set else "default",
        )
    console().print(table)


def check_stores(settings: Settings) -> None:
    """Raise an error that names the setting if one of the stores can't be used."""
    for name, kinds in (("gateway_store", SCHEMES[:1]), ("model_store", SCHEMES)):
        store = getattr(settings, name)
        if not store:
            continue
        if not store.startswith(kinds):
            raise ConfigurationError(f"SLUICE_{name.upper()} is {store!r}: it must begin with {' or '.join(kinds)}")
        try:
            check_source(store)
        except ConfigurationError as error:
            raise ConfigurationError(f"SLUICE_{name.upper()}: {error}") from error


def shown_value(settings: Settings, name: str) -> Any:  # noqa: ANN401 - any setting's
    """Return a setting without secrets: a URL keeps its host."""
    value = getattr(settings, name)
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        return without_password(text) if "://" in text else HIDDEN
    if isinstance(value, tuple):
        return ",".join(without_password(part) for part in value)
    if value is None or isinstance(value, int | float):
        return value
    return without_password(str(value))


def without_password(text: str) -> str:
    """Hide a URL's password, even if it isn't %-encoded: everything between the first ':' and the last '@'."""
    scheme, separator, rest = text.partition("://")
    user, at, place = rest.rpartition("@")
    if not separator or not at:
        return text
    name, colon, _ = user.partition(":")
    return f"{scheme}://{name}:{HIDDEN}@{place}" if colon else text
