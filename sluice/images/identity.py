"""A model's identity: a digest of everything that determines a prediction.

It is computed wherever a card is made, read or served. It covers architecture, weights, preprocessing and labels. The
preprocessing's version isn't part of it: the version says which code an archive includes, and new code must not turn a
registered model into another one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import IO, Any, Final

from sluice.errors import CardError

NO_WEIGHTS: Final = hashlib.sha256(b"").hexdigest()


def digest_of(architecture: str, weights_sha256: str, preprocessing: Mapping[str, Any], labels: Sequence[str]) -> str:
    """Return the digest of everything that determines a prediction."""
    recipe = {name: value for name, value in preprocessing.items() if name != "version"}
    told = [architecture, weights_sha256, recipe, list(labels)]
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def check_card(card: Mapping[str, Any]) -> None:
    """Raise CardError if a card's digest doesn't match its contents."""
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
    """Raise CardError if the weights aren't those that the card's digest was made from."""
    found, wanted = hashlib.file_digest(file, "sha256").hexdigest(), card["weights"]["sha256"]  # type: ignore[arg-type]
    if found != wanted:
        raise CardError(
            f"{card['weights']['file']} has sha256 {found}, the card says {wanted}: build the archive again with "
            f"scripts/build-model"
        )
