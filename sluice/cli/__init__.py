"""The command `sluice`: what people and scripts ask of the ledger. It holds no state and talks to no process.

Commands import what only they need when they run (boto3, numpy, pyarrow, alembic), so that `sluice status` is quick.
"""

from sluice.cli.app import main

__all__ = ["main"]
