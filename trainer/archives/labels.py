"""What a network's classes are called: ImageNet's names, a list of the recipe's, or a file of one's own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sluice.domain import LABEL_MAX
from sluice.errors import BuildError
from trainer.archives.sources import package_file

IMAGENET: Final = "imagenet-1k"
IMAGENET_CLASSES: Final = 1000
LABELS_MAX: Final = 50_000
LABELS_MAX_BYTES: Final = 2_000_000
"""Of all together: a card with them has to fit into an answer of TorchServe's."""
NAMED: Final = 5


def read_labels(told: object, base: Path) -> tuple[str, ...] | None:
    """Return the labels that a recipe tells or points to; None stands for ImageNet's, which torchvision has."""
    if told == IMAGENET:
        return None
    if isinstance(told, list):
        return _checked(told, "labels")
    if not isinstance(told, str) or not told:
        raise BuildError(
            f"labels is {told!r:.100}: expected {IMAGENET!r}, a list, the path of a file (one a line, or JSON), or "
            f"package:NAME/PATH"
        )
    path = package_file(told) if told.startswith("package:") else base / Path(told).expanduser()
    if not path.is_file():
        raise BuildError(f"labels: no file {path}: write one label a line, in the order of the network's outputs")
    if path.stat().st_size > 2 * LABELS_MAX_BYTES:
        raise BuildError(f"labels: {path} is larger than {2 * LABELS_MAX_BYTES} bytes")
    try:
        text = path.read_text(encoding="utf-8-sig")
        listed = json.loads(text) if text.lstrip().startswith("[") else None
    except (ValueError, RecursionError) as error:
        raise BuildError(f"labels: {path} is no text in UTF-8, or no JSON ({error})") from error
    return _checked(listed if isinstance(listed, list) else text.splitlines(), str(path))


def imagenet_labels() -> tuple[str, ...]:
    """Return the 1,000 labels from torchvision's own metadata. Two pairs of them share a name."""
    from torchvision.models import ResNet18_Weights  # noqa: PLC0415 - takes seconds

    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def _checked(told: Sequence[object], what: str) -> tuple[str, ...]:
    wrong = [each for each in told if not isinstance(each, str)]
    if wrong:
        raise BuildError(f"{what}: {wrong[0]!r:.100} is no text: put labels in quotation marks")
    labels = tuple(str(each).strip() for each in told)
    if not 2 <= len(labels) <= LABELS_MAX:  # noqa: PLR2004 - fewer leave nothing to say
        raise BuildError(
            f"{what}: {len(labels)} labels: expected 2 to {LABELS_MAX}, one for each output of the network"
        )
    for number, label in enumerate(labels, 1):
        if not label:
            raise BuildError(f"{what}: label {number} is empty: each output of the network needs a name")
        if len(label) > LABEL_MAX:
            raise BuildError(
                f"{what}: label {number} has {len(label)} characters, {LABEL_MAX} are kept: {label[:40]!r}…"
            )
        if not label.isprintable():
            raise BuildError(f"{what}: label {number} has characters that can't be shown: {label[:40]!r}")
    twice = [label for label, count in Counter(labels).items() if count > 1]
    if twice:
        raise BuildError(
            f"{what}: {', '.join(map(repr, twice[:NAMED]))}{' and others' if len(twice) > NAMED else ''} is there "
            f"twice: nobody could tell which output was meant"
        )
    if sum(len(label.encode()) for label in labels) > LABELS_MAX_BYTES:
        raise BuildError(f"{what}: together they have more than {LABELS_MAX_BYTES} bytes")
    return labels
