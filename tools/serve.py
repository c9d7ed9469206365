"""Run a TorchServe with some archives on loopback until Ctrl-C. For one machine; a cluster uses the chart."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from tools.stack import Leash, StackError, TorchServe, archive_of, orderly_end
from tools.stack.ports import bind


def main() -> None:
    """Start it, print its address, and wait for its end."""
    parser = argparse.ArgumentParser(
        prog="scripts/torchserve", description=__doc__, epilog="example: scripts/torchserve efficientnet-lite0 noop"
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="name of a recipe that scripts/build-model built")
    parser.add_argument(
        "--port",
        type=int,
        choices=range(1, 2**16),
        metavar="PORT",
        default=8080,
        help="inference port (default: %(default)s)",
    )
    parser.add_argument("--workers", type=int, help="processes a model (default: one a core that memory is enough for)")
    parser.add_argument("--threads", type=int, help="threads a process computes with (default: cores / processes)")
    arguments = parser.parse_args()
    try:
        bind(arguments.port)
    except OSError as error:
        sys.exit(
            f"scripts/torchserve: port {arguments.port} of 127.0.0.1 can't be used ({error.strerror}): "
            "end what has it, or give another with --port"
        )
    folder = Path(tempfile.mkdtemp(prefix="sluice-"))
    leash = Leash(folder)
    try:
        archives = [archive_of(model) for model in arguments.models]
        with orderly_end():
            what = {"workers": arguments.workers, "threads": arguments.threads, "port": arguments.port}
            serve(TorchServe(folder, leash, archives, **what))
    except StackError as error:
        sys.exit(f"scripts/torchserve: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        leash.close()


def serve(server: TorchServe) -> None:
    """Run it until a signal, or until it ends by itself."""
    server.start()
    server.wait_ready()
    print(f"TorchServe answers: curl -T cat.jpg {server.address}/predictions/{server.models[0]}", flush=True)
    while server.pid is not None:
        signal.sigtimedwait([], 1.0)
    raise StackError(f"TorchServe ended with {server.exit_code}; its log ends:\n{server.log_tail()}")


if __name__ == "__main__":
    main()
