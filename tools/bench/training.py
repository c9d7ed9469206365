"""Measure trainings: how good a model comes out of labelled pictures, and how long that takes, with a real trainer.

By default it learns scikit-learn's handwritten digits: 1,797 pictures of ten classes. `--data emoji` learns drawings of
food and of animals by three artists and is tested on a fourth's, each of four once. A folder of pictures has a folder
for each label; with --test another such folder is what the model is tested on, instead of a part of the first.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sluice.ledger import Database, trainings
from sluice.ledger.trainings import Wish
from tools.bench import host
from tools.bench.styles import measure_styles
from tools.bench.trained import BUCKET, card_of_training, fill
from tools.labelled.digits import digits
from tools.labelled.emoji import ARTISTS
from tools.stack import Servers, Stack, orderly_end


def main() -> None:
    """Upload pictures, train, and print what the card says."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: scripts/bench training --pictures ./labelled --test ./labelled-later",
    )
    parser.add_argument("--data", choices=("digits", "emoji"), default="digits", help="default: %(default)s")
    parser.add_argument("--held-out", choices=ARTISTS, action="append", help="emoji: only this one (default: each)")
    parser.add_argument("--draws", type=int, default=10, help="emoji: of 23 drawings (default: %(default)s)")
    parser.add_argument("--store", help="a model store of one's own, which keeps features for the next run")
    parser.add_argument("--pictures", type=Path, help="a folder with a folder of pictures for each label")
    parser.add_argument("--test", type=Path, help="another one, only to test on")
    parser.add_argument("--fine-tune", action="store_true", help="the last blocks of the network learn too")
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn by chance (default: %(default)s)")
    arguments = parser.parse_args()
    with orderly_end(), Servers(models=["noop"]) as servers:
        servers.start(servers.database, servers.s3)
        servers.s3.client.create_bucket(Bucket=BUCKET)
        with (
            Stack(servers, "training", model_store=arguments.store or f"s3://{BUCKET}/models/") as stack,
            Database(stack.settings) as database,
        ):
            clocks = host.clocks()
            if arguments.data == "emoji":
                measure_styles(stack, database, arguments.held_out or ARTISTS, arguments.draws)
            else:
                print("\n".join(_measured(stack, database, arguments)))
            print(f"processors' time that the host gave to others: {host.stolen(clocks):.0%}")
        print("\n".join(f"{name}: {value}" for name, value in host.machine().items()))


def _measured(stack: Stack, database: Database, arguments: argparse.Namespace) -> list[str]:
    s3 = stack.servers.s3
    source = fill(s3, "learn", _folder(arguments.pictures) if arguments.pictures else digits())
    test = fill(s3, "test", _folder(arguments.test)) if arguments.test else ""
    wish = Wish("measured", source, test=test, fine_tune=arguments.fine_tune, seed=arguments.seed)
    number, begun = database.run(trainings.submit, wish), time.monotonic()
    stack.add_trainer().start()
    card = card_of_training(stack, database, number)
    return _told(card, time.monotonic() - begun)


def _folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.glob("*/*")):
        yield path.relative_to(folder).as_posix(), path.read_bytes()


def _told(card: dict[str, Any], seconds: float) -> list[str]:
    metrics, sides = card["metrics"], card["training"]["pictures"]
    interval = f"{metrics['accuracy_low']:.4f} to {metrics['accuracy_high']:.4f}"
    return [
        f"accuracy {metrics['accuracy']:.4f} (95 %: {interval}) on {metrics['test_pictures']} pictures",
        f"mean F1 {metrics['f1']:.4f}",
        f"calibration error {metrics['calibration_error_before']:.4f} before, {metrics['calibration_error']:.4f} after",
        f"{', '.join(f'{count} {side}' for side, count in sides.items())}; {seconds:.1f} s from the row to the model",
        f"digest {card['digest']}",
        *card["findings"],
    ]


if __name__ == "__main__":
    main()
