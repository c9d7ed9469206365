"""Model archives as far as their cards go: what a command reads of one without TorchServe."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

CARD: dict[str, Any] = {
    "name": "m",
    "version": "1.0",
    "digest": "a" * 64,
    "preprocessing": {"resize": 256, "crop": 224, "interpolation": "bilinear", "mean": [0, 0, 0], "std": [1, 1, 1]},
    "labels": ["cat", "dog"],
}


def write_archive(path: Path, card: object = CARD) -> Path:
    """Write an archive whose model.json is `card`; a string stands as it is."""
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("model.json", card if isinstance(card, str) else json.dumps(card))
    return path
