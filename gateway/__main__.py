"""`python -m gateway`: reads the settings and serves pages and API."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

EXAMPLES = """\
examples:
  SLUICE_GATEWAY_STORE=s3://photos/sluice/ SLUICE_GATEWAY_ANONYMOUS=user python -m gateway
      pages and API on http://127.0.0.1:8000/, open to whoever reaches that address
  python -m gateway --bind 0.0.0.0:8000 --metrics-port 9100
      as in a container: http://127.0.0.1:9100/ready says whether it would work, and why not

Every setting is SLUICE_<NAME> in the environment or a line of the TOML file that SLUICE_CONFIG names; see
README.md. SIGTERM drains: requests under way are answered, new ones are refused.
"""


def main() -> int:
    """Run until stopped; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway",
        description="Serve Sluice's pages and its API: classify pictures, run jobs, look at results.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bind", metavar="HOST:PORT", dest="gateway_bind", help="where pages and API are served")
    parser.add_argument("--torchserve", metavar="URLS", help="TorchServe inference addresses, comma-separated")
    parser.add_argument("--name", help="this gateway in logs and rows; default: host-pid")
    parser.add_argument("--metrics-port", type=int, metavar="PORT", help="port of /metrics, /live and /ready; 0: off")
    arguments = parser.parse_args()
    from gateway.service import serve_until_stopped  # noqa: PLC0415 - --help needs none of it
    from sluice.errors import ConfigurationError  # noqa: PLC0415 - the same
    from sluice.settings import read_settings  # noqa: PLC0415 - the same
    from sluice.telemetry import configure  # noqa: PLC0415 - the same

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
    # A thread may still wait for an answer that nobody needs any more; Python would wait for it.
    os._exit(code)
