"""`python -m consumer`: reads the settings and runs one consumer."""

from __future__ import annotations

import argparse
import gc

from sluice.starting import obey_stops

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


def main() -> None:
    """Run until stopped."""
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
    obey_stops()
    gc.disable()
    from consumer.service import serve_until_stopped  # noqa: PLC0415 - --help needs none of it
    from sluice.process import run_process  # noqa: PLC0415 - the same

    run_process("consumer", serve_until_stopped, **vars(arguments))


if __name__ == "__main__":
    main()
