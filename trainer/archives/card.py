"""What an archive says of itself: model.json. docs/models.md explains its fields.

Its digest covers all that decides a prediction: architecture, weights, preprocessing, labels, and the precision if that
isn't fp32. What is said besides (runtime, description, licence, metrics) may change without making another model of it.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from sluice.domain.running import TORCH
from sluice.errors import BuildError
from trainer.archives.recipe import Recipe
from trainer.archives.sources import sha256_of

CARD: Final = "model.json"
CARD_MAX_BYTES: Final = 4_000_000
"""TorchServe answers with no more (max_response_size), and a card has to fit into an answer."""


def model_card(
    recipe: Recipe, labels: Sequence[str], weights: Path | None, runtime: str = TORCH, quantised: Path | None = None
) -> dict[str, Any]:
    """Return the card of what a recipe became, to be run by a runtime."""
    from sluice.images import NO_WEIGHTS, digest_of  # noqa: PLC0415 - --help needs no numpy

    sha256 = sha256_of(weights) if weights else NO_WEIGHTS
    told = {"file": weights.name, "sha256": sha256} if weights else None
    if told and recipe.sha256:
        told["source_sha256"] = recipe.sha256
    card = {
        "name": recipe.name,
        "version": recipe.version,
        "digest": digest_of(
            recipe.architecture,
            sha256,
            recipe.preprocessing,
            labels,
            recipe.precision,
            sha256_of(quantised) if quantised else "",
        ),
        "architecture": recipe.architecture,
        "weights": told,
        "runtime": runtime,
        "precision": recipe.precision,
        **({"quantised": {"file": quantised.name, "sha256": sha256_of(quantised)}} if quantised else {}),
        "preprocessing": recipe.preprocessing,
        "classes": len(labels),
        "labels": list(labels),
        **recipe.card,
    }
    if len(json.dumps(card, indent=1)) > CARD_MAX_BYTES:
        raise BuildError(f"the card has more than {CARD_MAX_BYTES} bytes: shorten labels and description")
    return card


def read_card(archive: Path) -> dict[str, Any] | None:
    """Read model.json from an archive; None if there's none to read."""
    try:
        with zipfile.ZipFile(archive) as opened:
            card: dict[str, Any] = json.loads(opened.read(CARD))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    return card
