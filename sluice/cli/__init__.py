"""The command `sluice`, for people and scripts. It holds no state and connects to no producer or consumer.

Commands import boto3, numpy, pyarrow and alembic only when they need them, so that `sluice status` is quick.
"""

from sluice.cli.app import main

__all__ = ["main"]
