"""`python -m producer`: runs one shard of the producer as a process."""

from __future__ import annotations

import argparse
import gc

from sluice.starting import obey_stops

EXAMPLES = """examples:
  python -m producer                          one producer for everything, on SLUICE_BIND
  python -m producer --shard 0 --shards 2     the first of two; each needs its own address
  SLUICE_METRICS_PORT=9090 python -m producer with /metrics, /live and /ready

Every setting is an environment variable SLUICE_<NAME>: see README.md.
Ends with 0 when told to stop, 2 for a wrong setting, 3 if the database refuses a statement.
A second producer of the same shard waits, and takes over when the first ends.
"""


def main() -> None:
    """Run until stopped."""
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
    obey_stops()
    gc.disable()
    from producer.service import serve_until_stopped  # noqa: PLC0415 - --help needs none of it
    from sluice.process import run_process  # noqa: PLC0415 - the same

    run_process("producer", serve_until_stopped, **vars(arguments))


if __name__ == "__main__":
    main()
