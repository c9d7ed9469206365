"""`python -m gateway`: reads the settings and serves pages and API."""

from __future__ import annotations

import argparse
import gc

from sluice.starting import obey_stops

EXAMPLES = """\
examples:
  SLUICE_GATEWAY_STORE=s3://photos/sluice/ SLUICE_GATEWAY_ANONYMOUS=user python -m gateway
      pages and API on http://127.0.0.1:8000/, open to whoever reaches that address
  python -m gateway --bind 0.0.0.0:8000 --metrics-port 9100
      as in a container: http://127.0.0.1:9100/ready says whether it would work, and why not

Every setting is SLUICE_<NAME> in the environment or a line of the TOML file that SLUICE_CONFIG names; see
README.md. SIGTERM drains: requests under way are answered, new ones are refused.
"""


def main() -> None:
    """Run until stopped."""
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
    obey_stops()
    gc.disable()
    from gateway.service import serve_until_stopped  # noqa: PLC0415 - --help needs none of it
    from sluice.process import run_process  # noqa: PLC0415 - the same

    run_process("gateway", serve_until_stopped, **vars(arguments))


if __name__ == "__main__":
    main()
