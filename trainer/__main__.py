"""`python -m trainer`: runs a trainer as a process."""

from __future__ import annotations

import argparse
import gc
from functools import partial

from sluice.starting import obey_stops

EXAMPLES = """examples:
  python -m trainer                          makes models of what `sluice train` asks for, one after the other
  python -m trainer --until-idle             ends once no training waits: for a Job, or a rented machine
  SLUICE_METRICS_PORT=9090 python -m trainer with /metrics, /live and /ready

Every setting is an environment variable SLUICE_<NAME>: see README.md. SLUICE_MODEL_STORE is needed.
Ends with 0 when told to stop, 2 for a wrong setting, 3 if the database refuses a statement.
Several trainers share the trainings. One that is killed has its training taken over by the next, which goes on with it.
"""


def main() -> None:
    """Run until stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer",
        description="Trains models on labelled pictures, and puts their archives into the model store.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--until-idle", action="store_true", help="end once no training waits")
    until_idle = parser.parse_args().until_idle
    obey_stops()
    gc.disable()
    from sluice.process import run_process  # noqa: PLC0415 - --help needs none of it
    from trainer.service import serve_until_stopped  # noqa: PLC0415 - the same

    run_process("trainer", partial(serve_until_stopped, until_idle=until_idle))


if __name__ == "__main__":
    main()
