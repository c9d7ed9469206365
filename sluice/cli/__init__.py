"""The command `sluice`, for people and scripts. It holds no state and connects to no producer or consumer.

Commands import boto3, numpy, pyarrow and alembic only when they need them, so that `sluice status` is quick.
"""

from __future__ import annotations

import gc
import os
import signal

from sluice.starting import INTERRUPTED


def main() -> None:
    """Run the command line; ends the process."""
    # What is imported stays, so the collector needn't look for what doesn't.
    gc.disable()
    # Nothing has begun that could be left half done; afterwards commands end in their own way.
    if is_foreground := signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from sluice.cli.app import main as run  # noqa: PLC0415 - the gateway takes a few words of this package only

    if is_foreground:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.enable()
    run()
