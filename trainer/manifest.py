"""The pictures of one training, as it saw them: kept in the store, so that a training that goes on has the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.pictures.labelled import LabelledPicture
from trainer.pictures.looking import SeenPicture

FORMAT: Final = 1
NO_THUMB: Final = np.zeros((0,), dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Pictures by content, each with its side, and what was found in them."""

    pictures: tuple[SeenPicture, ...]
    sides: tuple[str, ...]
    findings: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the network's outputs."""
        return tuple(sorted({each.picture.label for each in self.pictures}))

    @property
    def digest(self) -> str:
        """The SHA-256 of contents, labels and sides: the same data have the same."""
        told = [[each.sha256, each.picture.label, side] for each, side in zip(self.pictures, self.sides, strict=True)]
        return hashlib.sha256(json.dumps(sorted(told)).encode()).hexdigest()

    def classes(self) -> NDArray[np.int64]:
        """Return each picture's class as a number."""
        numbers = {label: number for number, label in enumerate(self.labels)}
        return np.array([numbers[each.picture.label] for each in self.pictures], dtype=np.int64)

    def on(self, *sides: str) -> NDArray[np.int64]:
        """Return the places of the pictures on these sides."""
        return np.flatnonzero([side in sides for side in self.sides])

    def to_json(self, asked: str) -> bytes:
        """Return it as a file, which tells what it was asked for."""
        rows = [
            [
                each.sha256, side, each.picture.label, each.picture.url, each.picture.source, each.picture.key.hex(),
                each.picture.etag,
            ]
            for each, side in zip(self.pictures, self.sides, strict=True)
        ]  # fmt: skip
        return json.dumps({"format": FORMAT, "asked": asked, "findings": self.findings, "pictures": rows}).encode()

    @classmethod
    def from_json(cls, data: bytes, asked: str) -> Manifest | None:
        """Read the file; None if another version of Sluice wrote it, or if it was asked for something else.

        Numbers of trainings begin anew in a new database, and its model store may be that of an earlier one.
        """
        told = json.loads(data)
        if told.get("format") != FORMAT or told.get("asked") != asked:
            return None
        return cls(
            tuple(
                SeenPicture(LabelledPicture(url, label, source, bytes.fromhex(key), etag), sha256, NO_THUMB)
                for sha256, _, label, url, source, key, etag in told["pictures"]
            ),
            tuple(row[1] for row in told["pictures"]),
            tuple(told["findings"]),
        )
