"""--wait SECONDS, for commands that run while the rest of the system is still starting."""

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


def wait_until(
    deadline: float,
    attempt: Callable[[], T],
    sleep: Callable[[float], None] = time.sleep,
    *,
    missing: tuple[type[SluiceError], ...] = NOT_THERE_YET,
) -> T:
    """Retry each second while something is missing; print a line when the missing thing changes.

    `missing` are the errors that say so.
    """
    said = ""
    while True:
        try:
            return attempt()
        except missing as error:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            if str(error) != said:
                said = str(error)
                screen = console(sys.stderr)
                screen.print(Text(f"waiting, {duration(left)} at most: {safe(said)}", style="yellow"), soft_wrap=True)
        sleep(min(PAUSE_SECONDS, max(0.0, left)))
