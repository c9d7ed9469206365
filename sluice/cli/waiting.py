"""Waiting for what is still starting: --wait SECONDS of commands that are run while everything else starts too."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Annotated, Final, TypeVar

import typer
from rich.text import Text

from sluice.cli.screen import console, duration, safe
from sluice.errors import EndpointDown, LedgerUnavailable, SluiceError, TablesMissing

T = TypeVar("T")

NOT_THERE_YET: Final[tuple[type[SluiceError], ...]] = (LedgerUnavailable, TablesMissing, EndpointDown)
PAUSE_SECONDS: Final = 1.0

Wait = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="Wait so long for what isn't there yet, and say what it is.")
]


def wait_until(deadline: float, attempt: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
    """Try again each second while something isn't there yet; a line is written when what is missing changes."""
    said = ""
    while True:
        try:
            return attempt()
        except NOT_THERE_YET as error:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            if str(error) != said:
                said = str(error)
                screen = console(sys.stderr)
                screen.print(Text(f"waiting, {duration(left)} at most: {safe(said)}", style="yellow"), soft_wrap=True)
        sleep(min(PAUSE_SECONDS, max(0.0, left)))
