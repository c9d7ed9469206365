"""`python -m consumer`: reads the settings and runs one consumer."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys

EXAMPLES = """\
examples:
  python -m consumer
      one producer, one TorchServe and the ledger, all on this machine
  SLUICE_TORCHSERVE=http://torchserve:8080 python -m consumer --producers tcp://a:5600,tcp://b:5600
      two producer shards; every address behind the name torchserve gets its share
  SLUICE_METRICS_PORT=9100 SLUICE_LOG_FORMAT=json python -m consumer
      as in a container: http://127.0.0.1:9100/ready says whether it would work, and why not

Every setting is SLUICE_<NAME> in the environment or a line of the TOML file that SLUICE_CONFIG names; see
README.md. SIGTERM drains: what is begun is finished, the rest goes back to the producer.
"""


def main() -> int:
    """Run until stopped; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m consumer",
        description="Receive objects from Sluice's producers, have TorchServe classify them, commit the predictions.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--producers", metavar="ADDRESSES", help="every producer shard's address, comma-separated")
    parser.add_argument("--torchserve", metavar="URLS", help="TorchServe inference addresses, comma-separated")
    parser.add_argument("--name", help="this consumer in logs and rows; default: host-pid")
    parser.add_argument("--metrics-port", type=int, metavar="PORT", help="port of /metrics, /live and /ready; 0: off")
    arguments = parser.parse_args()
    # Until the service handles this signal there is nothing to drain; the imports below take part of that second.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    from consumer.service import serve_until_stopped  # noqa: PLC0415 - see above
    from sluice.errors import ConfigurationError  # noqa: PLC0415 - see above
    from sluice.settings import read_settings  # noqa: PLC0415 - see above
    from sluice.telemetry import configure  # noqa: PLC0415 - see above

    try:
        settings = read_settings(**vars(arguments))
        configure(settings)
        # Not asyncio.run, which would wait for threads: see below.
        asyncio.Runner().run(serve_until_stopped(settings))
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a person started this, and reads it
        return 2
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # A thread may still wait for an answer that nobody needs any more; at a normal exit Python would wait for it.
    os._exit(code)
