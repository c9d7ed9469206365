"""`python -m producer`: runs one shard of the producer as a process."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from producer.service import produce
from sluice.errors import ConfigurationError, LedgerError, SluiceError
from sluice.settings import read_settings
from sluice.telemetry import get_logger, logs
from sluice.telemetry.health import Health, serve

EXAMPLES = """examples:
  python -m producer                          one producer for everything, on SLUICE_BIND
  python -m producer --shard 0 --shards 2     the first of two; each needs its own address
  SLUICE_METRICS_PORT=9090 python -m producer with /metrics, /live and /ready

Every setting is an environment variable SLUICE_<NAME>: see README.md.
Ends with 0 when told to stop, 2 for a wrong setting, 3 if the database refuses a statement.
A second producer of the same shard waits, and takes over when the first ends.
"""


def main() -> int:
    """Read the settings, run, and turn errors into a sentence and an exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m producer",
        description="Lists jobs into the ledger and streams their objects to consumers.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--shard", type=int, help="this producer's number, from 0 (SLUICE_SHARD)")
    parser.add_argument("--shards", type=int, help="how many producers share the work (SLUICE_SHARDS)")
    parser.add_argument("--bind", help="address to listen on, tcp://host:port (SLUICE_BIND)")
    arguments = parser.parse_args()
    try:
        settings = read_settings(shard=arguments.shard, shards=arguments.shards, bind=arguments.bind)
        logs.configure(settings)
        get_logger().info("producer starts", **settings.shown())
        health = Health()
        for name in ("shard", "socket"):
            health.set(name, ok=False, why="starting")
        serve(settings, health)
        asyncio.run(produce(settings, health))
    except SluiceError as error:
        return _explain(error)
    except ExceptionGroup as group:
        # If several coroutines fail together, the first error is the cause of the others.
        cause: Exception = group
        while isinstance(cause, ExceptionGroup):
            cause = cause.exceptions[0]
        if not isinstance(cause, SluiceError):
            raise
        return _explain(cause)
    return 0


def _explain(error: SluiceError) -> int:
    print(f"producer: {error}", file=sys.stderr)  # noqa: T201 - a person reads it where logs may be off
    return 3 if isinstance(error, LedgerError) else 2 if isinstance(error, ConfigurationError) else 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads may still wait for a database or bucket that doesn't answer; their results aren't needed.
    os._exit(code)
