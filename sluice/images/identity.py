"""What makes a model the one that its card says: a digest of all that decides a prediction.

Whoever makes a card, reads one or serves one computes it here. It covers architecture, weights, preprocessing and
labels. The preprocessing's version is left out: it tells which code an archive carries, and new code must not make
another model of a registered one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import IO, Any, Final

from sluice.errors import CardError

NO_WEIGHTS: Final = hashlib.sha256(b"").hexdigest()


def digest_of(architecture: str, weights_sha256: str, preprocessing: Mapping[str, Any], labels: Sequence[str]) -> str:
    """Digest all that decides a prediction."""
    recipe = {name: value for name, value in preprocessing.items() if name != "version"}
    told = [architecture, weights_sha256, recipe, list(labels)]
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def check_card(card: Mapping[str, Any]) -> None:
    """Refuse a card whose digest is not that of what it says."""
    weights = card["weights"]
    found = digest_of(
        card["architecture"], weights["sha256"] if weights else NO_WEIGHTS, card["preprocessing"], card["labels"]
    )
    if found != card["digest"]:
        raise CardError(
            f"digest is {str(card['digest'])[:12]}, but its architecture, weights, preprocessing and labels make "
            f"{found[:12]}: it was changed after it was built; build the archive again with scripts/build-model, under "
            f"a version of its own"
        )


def check_weights(card: Mapping[str, Any], file: IO[bytes]) -> None:
    """Refuse weights that are not those the card's digest was made from."""
    found, wanted = hashlib.file_digest(file, "sha256").hexdigest(), card["weights"]["sha256"]  # type: ignore[arg-type]
    if found != wanted:
        raise CardError(
            f"{card['weights']['file']} has sha256 {found}, the card says {wanted}: build the archive again with "
            f"scripts/build-model"
        )
