"""Measure models of drawings on an artist that they haven't seen: `scripts/bench training --data emoji`.

Food against animals, drawn by four artists. Each artist is held out once, and the model learns from the other three;
then from 23 drawings of those only, drawn by lot ten times.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sluice.ledger import Database, trainings
from sluice.ledger.trainings import Wish
from tools.bench.trained import BUCKET, card_of_training, fill
from tools.labelled.emoji import ARTISTS, drawings
from tools.stack import Stack

FEW: Final = {"food": 12, "animals": 11}
FEW_TOLD: Final = "few pictures"
"""Begins what a card says of a class that has few."""

Drawings = Mapping[str, Mapping[str, bytes]]
"""Of each artist, by LABEL/name.png."""


@dataclass(frozen=True, slots=True)
class StyleBench:
    """Trainings on one stack; features of a drawing are computed once."""

    stack: Stack
    database: Database
    artists: Drawings

    def told(self, held_out: Sequence[str], draws: int) -> list[str]:
        """Train, and return the lines of both tables."""
        lines = ["| held out | accuracy | 95 % | mean F1 | s |", "| --- | --- | --- | --- | --- |"]
        for artist in held_out:
            begun = time.monotonic()
            card = self._trained(artist, self._labels(artist))
            metrics = card["metrics"]
            interval = f"{metrics['accuracy_low']:.3f} to {metrics['accuracy_high']:.3f}"
            spent = time.monotonic() - begun
            lines.append(f"| {artist} | {metrics['accuracy']:.3f} | {interval} | {metrics['f1']:.3f} | {spent:.0f} |")
        cards = [self._few(draw, held_out[draw % len(held_out)]) for draw in range(draws)]
        if not cards:
            return lines
        found = [card["metrics"]["accuracy"] for card in cards]
        warned = sum(any(FEW_TOLD in finding for finding in card["findings"]) for card in cards)
        mean, spread = statistics.mean(found), f"{min(found):.3f} to {max(found):.3f}"
        lines.append(f"{sum(FEW.values())} drawings, {draws} draws: mean {mean:.3f} ({spread}), {warned} cards warn")
        return lines

    def _few(self, draw: int, held_out: str) -> dict[str, Any]:
        chance = random.Random(draw)  # noqa: S311 - whoever measures again shall draw the same
        labels = self._labels(held_out)
        chosen: list[tuple[str, str]] = []
        for label, count in FEW.items():
            chosen += chance.sample([each for each in labels if each[1] == label], count)
        return self._trained(held_out, chosen)

    def _labels(self, held_out: str) -> list[tuple[str, str]]:
        """Return url and label of all drawings by the others."""
        return [
            (f"s3://{BUCKET}/{artist}/{key}", key.partition("/")[0])
            for artist, theirs in self.artists.items()
            if artist != held_out
            for key in theirs
        ]

    def _trained(self, held_out: str, labels: Sequence[tuple[str, str]]) -> dict[str, Any]:
        wish = Wish("emoji", test=f"s3://{BUCKET}/{held_out}/")
        return card_of_training(self.stack, self.database, self.database.run(trainings.submit, wish, labels))


def measure_styles(stack: Stack, database: Database, held_out: Sequence[str], draws: int) -> list[str]:
    """Upload all drawings, train on them, and return what came out."""
    artists = {artist: drawings(artist) for artist in ARTISTS}
    for artist, theirs in artists.items():
        fill(stack.servers.s3, artist, theirs.items())
    stack.add_trainer().start()
    return StyleBench(stack, database, artists).told(held_out, draws)
