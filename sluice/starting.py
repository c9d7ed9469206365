"""Stops that come while a process still starts: there is nothing to end in order yet."""

from __future__ import annotations

import os
import signal
from typing import Final

INTERRUPTED: Final = 130
"""A shell's exit code for Ctrl-C."""


def obey_stops() -> None:
    """End this process with 0 at SIGTERM or SIGINT, until its service handles them.

    Called before the imports, which take a second or more: a pod that is deleted meanwhile has not failed.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
