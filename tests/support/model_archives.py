"""Model archives with only a card: what a command reads of one without TorchServe."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from sluice.images import NO_WEIGHTS, digest_of


def signed(card: dict[str, Any]) -> dict[str, Any]:
    """Return the card with the digest of its contents."""
    weights = card["weights"]["sha256"] if card["weights"] else NO_WEIGHTS
    return {**card, "digest": digest_of(card["architecture"], weights, card["preprocessing"], card["labels"])}


WEIGHTS = b"some weights"
SIZES = {"resize": 256, "crop": 224, "interpolation": "bilinear", "mean": [0, 0, 0], "std": [1, 1, 1], "version": 2}
CARD: dict[str, Any] = signed(
    {
        "name": "m",
        "version": "1.0",
        "architecture": "noop",
        "weights": {"file": "weights.pth", "sha256": hashlib.sha256(WEIGHTS).hexdigest()},
        "preprocessing": SIZES,
        "labels": ["cat", "dog"],
    }
)


TAMPERED: tuple[dict[str, Any], ...] = (
    {"labels": ["dog", "cat"]},
    {"labels": ["cat", "dog", "cow"]},
    {"preprocessing": {**SIZES, "crop": 200}},
    {"architecture": "resnet18"},
    {"weights": None},
    {"weights": {**CARD["weights"], "sha256": "0" * 64}},
    {"digest": "a" * 64},
)
"""Changes to CARD that its digest doesn't cover."""


def write_archive(path: Path, card: object = CARD, weights: bytes = WEIGHTS) -> Path:
    """Write an archive whose model.json is `card`; a string is written unchanged."""
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("model.json", card if isinstance(card, str) else json.dumps(card))
        opened.writestr("weights.pth", weights)
    return path
