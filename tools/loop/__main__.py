"""`scripts/loop`: from labelled pictures to a model, to a better one, and back, told step by step on real servers."""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import Final

from sluice.errors import SluiceError
from tools.labelled.emoji import ARTISTS
from tools.loop.person import LoopError, LoopPerson
from tools.loop.pictures import LoopPictures, four_artists, some_digits
from tools.loop.story import Story
from tools.stack import Servers, Stack, StackError, TorchServe, orderly_end
from tools.stack.workers import start_all

BUCKET: Final = "loop"
WINDOW: Final = 100
"""Pictures that are compared with earlier ones at once: few, so that few are needed."""
EXAMPLES: Final = """\
examples:
  scripts/loop                                   handwritten digits; nothing is fetched
  scripts/loop --classes 3 --new 34 --more 20 --looked-at 60 --margin 40    with fewer, in less time
  scripts/loop --data emoji                      drawings of three artists, then the fourth's; npm fetches 340 MB
"""


def main() -> int:
    """Start everything, go once around, end everything."""
    parser = argparse.ArgumentParser(
        prog="scripts/loop",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", choices=("digits", "emoji"), default="digits", help="default: %(default)s")
    parser.add_argument("--held-out", choices=ARTISTS, default="apple", help="whose drawings come later")
    parser.add_argument("--classes", type=int, default=10, help="digits: how many (default: %(default)s)")
    parser.add_argument("--labelled", type=int, default=8, help="digits: with a label, of each class (%(default)s)")
    parser.add_argument("--new", type=int, default=40, help="digits: that come later, of each class (%(default)s)")
    parser.add_argument("--more", type=int, default=60, help="digits: that come last, of each class (%(default)s)")
    parser.add_argument("--looked-at", type=int, default=100, help="answers that the person looks at (%(default)s)")
    parser.add_argument("--margin", type=int, default=20, help="points by which a version may be worse (%(default)s)")
    arguments = parser.parse_args()
    try:
        pictures = (
            four_artists(arguments.held_out)
            if arguments.data == "emoji"
            else some_digits(arguments.classes, arguments.labelled, arguments.new, arguments.more)
        )
        with orderly_end(), Servers(has_agent=True) as servers:
            print("starting a database, an S3 server, TorchServe, and all of Sluice on free ports", flush=True)
            servers.start()
            servers.s3.client.create_bucket(Bucket=BUCKET)
            go_around(pictures, servers, servers.torchserve, BUCKET, arguments.looked_at, arguments.margin)
        print("\nthe loop is closed")
    except (LoopError, SluiceError, StackError, subprocess.SubprocessError) as error:
        print(f"scripts/loop: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def go_around(
    pictures: LoopPictures, servers: Servers, torchserve: TorchServe, bucket: str, looked_at: int, margin: int
) -> None:
    """Go once around with a ledger of its own, on servers that run and a TorchServe that takes models."""
    store = f"file://{servers.folder}/published-{bucket}/"
    with Stack(
        servers, bucket.replace("-", ""), torchserve=torchserve.address, model_store=store, drift_window=WINDOW
    ) as stack:
        gateway = stack.add_gateway()
        started = [stack.add_producer(), stack.add_consumer(), gateway]
        start_all(*started, stack.add_agent(torchserve), stack.add_trainer())
        Story(pictures, LoopPerson(stack, gateway), servers.s3, bucket, looked_at, margin).run()


if __name__ == "__main__":
    sys.exit(main())
