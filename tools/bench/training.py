"""Measure trainings: how good a model comes out of labelled pictures, and how long that takes, with a real trainer.

Without --pictures it learns scikit-learn's handwritten digits: 1,797 pictures of ten classes. A folder of pictures has
a folder for each label; with --test another such folder is what the model is tested on, instead of a part of the first.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from sluice.ledger import Database, models, trainings
from sluice.ledger.rows import ENDED
from sluice.ledger.trainings import Training, Wish
from tools.bench import host
from tools.bench.run import machine
from tools.stack import S3Server, Servers, Stack, orderly_end
from tools.stack.workers import Worker

BUCKET: Final = "pictures"
STRONGEST: Final = 16.0
"""Of the ink of scikit-learn's digits."""


def main() -> None:
    """Upload pictures, train, and print what the card says."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: scripts/bench training --pictures ./labelled --test ./labelled-later",
    )
    parser.add_argument("--pictures", type=Path, help="a folder with a folder of pictures for each label")
    parser.add_argument("--test", type=Path, help="another one, only to test on")
    parser.add_argument("--fine-tune", action="store_true", help="the last blocks of the network learn too")
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn by chance (default: %(default)s)")
    arguments = parser.parse_args()
    with orderly_end(), Servers(models=["noop"]) as servers:
        servers.start(servers.database, servers.s3)
        servers.s3.client.create_bucket(Bucket=BUCKET)
        source = _fill(servers.s3, "learn", _folder(arguments.pictures) if arguments.pictures else _digits())
        test = _fill(servers.s3, "test", _folder(arguments.test)) if arguments.test else ""
        with Stack(servers, "training", model_store=f"s3://{BUCKET}/models/") as stack:
            wish = Wish("measured", source, test=test, fine_tune=arguments.fine_tune, seed=arguments.seed)
            with Database(stack.settings) as database:
                number = database.run(trainings.submit, wish)
                clocks, begun = host.clocks(), time.monotonic()
                trainer = stack.add_trainer()
                trainer.start()
                found = _ended(database, number, trainer)
                seconds = time.monotonic() - begun
                if found.state != "done":
                    sys.exit(f"the training {found.state}: {found.message}")
                card = models.card_of(database.run(models.resolve, f"{found.name}@{found.version}"))
                print(_told(card, seconds))
                print(f"processors' time that the host gave to others: {host.stolen(clocks):.0%}")
        print("\n".join(f"{name}: {value}" for name, value in machine().items()))


def _digits() -> Iterator[tuple[str, bytes]]:
    """Yield the digits as PNGs, each in the folder of what it shows."""
    digits = load_digits()
    for number, (ink, shown) in enumerate(zip(digits.images, digits.target, strict=True)):
        file = io.BytesIO()
        Image.fromarray((ink * (255 / STRONGEST)).round().astype(np.uint8)).save(file, "PNG")
        yield f"{shown}/{number}.png", file.getvalue()


def _folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.glob("*/*")):
        yield path.relative_to(folder).as_posix(), path.read_bytes()


def _fill(s3: S3Server, prefix: str, pictures: Iterator[tuple[str, bytes]]) -> str:
    """Upload pictures, and return the source that they are."""
    for key, data in pictures:
        s3.client.put_object(Bucket=BUCKET, Key=f"{prefix}/{key}", Body=data)
    return f"s3://{BUCKET}/{prefix}/"


def _ended(database: Database, number: int, trainer: Worker) -> Training:
    """Wait for a training's end, and show its stages."""
    stage = ""
    while True:
        found = database.run(trainings.get, number)
        if found is None or trainer.pid is None:
            sys.exit(f"the trainer ended:\n{trainer.log_tail()}")
        if found.state in ENDED:
            return found
        if found.stage != stage:
            stage = found.stage
            print(f"training: {stage}", file=sys.stderr, flush=True)
        time.sleep(0.5)


def _told(card: dict[str, Any], seconds: float) -> str:
    metrics, sides = card["metrics"], card["training"]["pictures"]
    interval = f"{metrics['accuracy_low']:.4f} to {metrics['accuracy_high']:.4f}"
    lines = [
        f"accuracy {metrics['accuracy']:.4f} (95 %: {interval}) on {metrics['test_pictures']} pictures",
        f"mean F1 {metrics['f1']:.4f}",
        f"calibration error {metrics['calibration_error_before']:.4f} before, {metrics['calibration_error']:.4f} after",
        f"{', '.join(f'{count} {side}' for side, count in sides.items())}; {seconds:.1f} s from the row to the model",
        f"digest {card['digest']}",
        *card["findings"],
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
