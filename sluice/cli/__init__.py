"""The command `sluice`, for people and scripts. It holds no state and connects to no producer or consumer.

Commands import boto3, numpy, pyarrow and alembic only when they need them, so that `sluice status` is quick.
"""

from __future__ import annotations

import gc


def main() -> None:
    """Run the command line; ends the process."""
    # What is imported stays, so the collector needn't look for what doesn't.
    gc.disable()
    from sluice.cli.app import main as run  # noqa: PLC0415 - the gateway takes a few words of this package only

    gc.enable()
    run()
