"""How a process starts and ends: settings, logs, one coroutine until it is stopped, and an exit code."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from sluice.errors import ConfigurationError, LedgerError, SluiceError
from sluice.settings import Settings, read_settings
from sluice.telemetry import configure


def run_process(name: str, serve: Callable[[Settings], Coroutine[Any, Any, None]], /, **given: object) -> NoReturn:
    """Run `serve` with the settings, of which some are given; then end the process.

    Exit codes: 0 after a stop, 2 for a wrong setting, 3 if the database refuses a statement, 1 for other errors.
    """
    # What was imported stays: callers import it without the collector, which needn't look at it later either.
    gc.freeze()
    gc.enable()
    code = _run(name, serve, given)
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread may still wait for a server that doesn't answer; at a normal exit Python would wait for the thread.
    os._exit(code)


def _run(name: str, serve: Callable[[Settings], Coroutine[Any, Any, None]], given: dict[str, object]) -> int:
    try:
        settings = read_settings(**given)
        configure(settings)
        # Not asyncio.run, which would wait for threads too.
        asyncio.Runner().run(serve(settings))
    except (SluiceError, ExceptionGroup) as error:
        # If several coroutines fail together, the first error is the cause of the others.
        cause: Exception = error
        while isinstance(cause, ExceptionGroup):
            cause = cause.exceptions[0]
        if not isinstance(cause, SluiceError):
            raise
        print(f"{name}: {cause}", file=sys.stderr)  # noqa: T201 - a person reads it even if logging is off
        return 3 if isinstance(cause, LedgerError) else 2 if isinstance(cause, ConfigurationError) else 1
    return 0
