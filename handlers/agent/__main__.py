"""`python -m handlers.agent`: reads the settings and runs the agent beside one TorchServe."""

from __future__ import annotations

import argparse
import gc

from sluice.starting import obey_stops

EXAMPLES = """\
examples:
  SLUICE_MODEL_STORE=s3://models/sluice/ python -m handlers.agent
      the TorchServe whose management port is 8081 on this machine, in /tmp/torchserve
  SLUICE_METRICS_PORT=9100 SLUICE_LOG_FORMAT=json python -m handlers.agent
      as in a container: http://127.0.0.1:9100/ready says whether TorchServe has all that it should, and what not

TorchServe must take models while it runs (enable_model_api=true), from the folder store/ of SLUICE_AGENT_FOLDER.
Every setting is SLUICE_<NAME> in the environment or a line of the TOML file that SLUICE_CONFIG names; see README.md.
"""


def main() -> None:
    """Run until stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m handlers.agent",
        description="Have the TorchServe beside serve the published versions of models that the ledger names.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--name", help="this TorchServe in logs and rows; default: host-pid")
    parser.add_argument("--metrics-port", type=int, metavar="PORT", help="port of /metrics, /live and /ready; 0: off")
    arguments = parser.parse_args()
    obey_stops()
    gc.disable()
    from handlers.agent.service import serve_until_stopped  # noqa: PLC0415 - --help needs none of it
    from sluice.process import run_process  # noqa: PLC0415 - the same

    run_process("agent", serve_until_stopped, **vars(arguments))


if __name__ == "__main__":
    main()
