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

    def measure(self, held_out: Sequence[str], draws: int) -> None:
        """Train, and print the lines of both tables as they come."""
        print("| held out | accuracy | 95 % | mean F1 | s |\n| --- | --- | --- | --- | --- |", flush=True)
        for artist in held_out:
            begun = time.monotonic()
            metrics = self._trained(artist, self._labels(artist))["metrics"]
            interval = f"{metrics['accuracy_low']:.3f} to {metrics['accuracy_high']:.3f}"
            told = f"{metrics['accuracy']:.3f} | {interval} | {metrics['f1']:.3f} | {time.monotonic() - begun:.0f}"
            print(f"| {artist} | {told} |", flush=True)
        found = list[float]()
        for draw in range(draws):
            artist = held_out[draw % len(held_out)]
            card = self._few(draw, artist)
            found.append(card["metrics"]["accuracy"])
            warned = "warned" if any(FEW_TOLD in finding for finding in card["findings"]) else "not warned"
            print(f"{sum(FEW.values())} drawings, {artist} held out: {found[-1]:.3f}, {warned}", flush=True)
        if found:
            print(f"{draws} draws: mean {statistics.mean(found):.3f}, {min(found):.3f} to {max(found):.3f}", flush=True)

    def _few(self, draw: int, held_out: str) -> dict[str, Any]:
        chance = random.Random(f"{held_out} {draw}")  # noqa: S311 - whoever measures again shall draw the same
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


def measure_styles(stack: Stack, database: Database, held_out: Sequence[str], draws: int) -> None:
    """Upload all drawings, train on them, and print what comes out."""
    artists = {artist: drawings(artist) for artist in ARTISTS}
    for artist, theirs in artists.items():
        fill(stack.servers.s3, artist, theirs.items())
    stack.add_trainer().start()
    StyleBench(stack, database, artists).measure(held_out, draws)
