"""A model's identity: a digest of everything that determines a prediction.

It is computed wherever a card is made, read or served. It covers architecture, weights, preprocessing and labels, and
the precision if that isn't fp32. The preprocessing's version isn't part of it: the version says which code an archive
includes, and new code must not turn a registered model into another one. Nor is the runtime: in fp32 all of them give
the same answers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import IO, Any, Final

from sluice.domain.running import FP32, INT8, PRECISIONS
from sluice.errors import CardError

NO_WEIGHTS: Final = hashlib.sha256(b"").hexdigest()
SAME_WEIGHTS: Final[Mapping[str, str]] = {
    # EfficientNet-Lite0: weights.safetensors, and the .pth of the same tensors.
    "f46ec1c3cb680f7b6e592fd971a28f301ca2deef2db22f51ce7d8e69c6b5d28e": (
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
}
"""Weights that archives carried in another file before: a model registered by that one stays the one it is."""


def digest_of(
    architecture: str,
    weights_sha256: str,
    preprocessing: Mapping[str, Any],
    labels: Sequence[str],
    precision: str = FP32,
    quantised_sha256: str = "",
) -> str:
    """Return the digest of everything that determines a prediction."""
    recipe = {name: value for name, value in preprocessing.items() if name != "version"}
    told = [architecture, SAME_WEIGHTS.get(weights_sha256, weights_sha256), recipe, list(labels)]
    if precision != FP32:
        told += [precision, quantised_sha256]
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def check_card(card: Mapping[str, Any]) -> None:
    """Raise CardError if a card's digest doesn't match its contents."""
    weights, precision = card["weights"], card.get("precision", FP32)
    if precision not in PRECISIONS:
        raise CardError(f"precision is {precision!r:.40}: known here are {', '.join(PRECISIONS)}: upgrade Sluice")
    quantised = card.get("quantised")
    if (precision == INT8) != bool(quantised):
        raise CardError(f"precision is {precision}, and it names {'a' if quantised else 'no'} quantised network")
    sha256 = weights["sha256"] if weights else NO_WEIGHTS
    more = (precision, quantised["sha256"] if quantised else "")
    found = digest_of(card["architecture"], sha256, card["preprocessing"], card["labels"], *more)
    if found != card["digest"]:
        raise CardError(
            f"digest is {str(card['digest'])[:12]}, but its architecture, weights, preprocessing, labels and "
            f"precision make {found[:12]}: it was changed after it was built; build the archive again with "
            f"scripts/build-model, under a version of its own"
        )


def check_weights(card: Mapping[str, Any], file: IO[bytes], part: str = "weights") -> None:
    """Raise CardError if the weights, or another part of a card, aren't those that its digest was made from."""
    found, wanted = hashlib.file_digest(file, "sha256").hexdigest(), card[part]["sha256"]  # type: ignore[arg-type]
    if found != wanted:
        raise CardError(
            f"{card[part]['file']} has sha256 {found}, the card says {wanted}: build the archive again with "
            f"scripts/build-model"
        )
