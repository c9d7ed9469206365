"""A model's card, `model.json`: read from an archive, and checked wherever it comes from."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any, Final

from sluice.errors import ConfigurationError

CARD: Final = "model.json"
CARD_MAX_BYTES: Final = 16 * 1024 * 1024
TEXTS: Final = ("name", "version", "digest", "architecture")
FIELDS: Final[dict[str, type]] = {**dict.fromkeys(TEXTS, str), "preprocessing": dict, "labels": list}
DIGEST_LENGTH: Final = 64
PARTS: Final = ("weights", "quantised")
"""What names a file of the archive, or nothing."""


def archived_card(archive: Path, called: str = "") -> dict[str, Any]:
    """Read the card in an archive; errors call the archive `called`."""
    from sluice.images import CardError, check_weights  # noqa: PLC0415 - brings numpy and Pillow

    shown = called or str(archive)
    try:
        with zipfile.ZipFile(archive) as opened:
            if opened.getinfo(CARD).file_size > CARD_MAX_BYTES:
                raise ConfigurationError(f"{shown}: {CARD} is larger than {CARD_MAX_BYTES} bytes: build it again")
            card = checked_card(json.loads(opened.read(CARD)), f"{shown}: {CARD}")
            for part in PARTS:
                if card.get(part):
                    with opened.open(card[part]["file"]) as file:
                        check_weights(card, file, part)
    except CardError as error:
        raise ConfigurationError(f"{shown}: {error}") from error
    except OSError as error:
        raise ConfigurationError(f"{shown} can't be read: {error.strerror}: name a .mar file") from error
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, RuntimeError) as error:
        raise ConfigurationError(
            f"{shown} isn't a model archive with a {CARD} ({error}): make one with scripts/build-model"
        ) from error
    return card


def checked_card(card: object, what: str) -> dict[str, Any]:
    """Return a card that has all that the ledger and TorchServe need of it; errors begin with `what`."""
    from sluice.images import CardError, Preprocessing, check_card  # noqa: PLC0415 - brings numpy and Pillow

    known = card if isinstance(card, dict) else {}
    wrong = [name for name, kind in FIELDS.items() if not isinstance(known.get(name), kind)]
    for part, told in (("weights", known.get("weights", "")), ("quantised", known.get("quantised"))):
        if told is not None and not (
            isinstance(told, dict) and all(isinstance(told.get(name), str) for name in ("file", "sha256"))
        ):
            wrong.append(part)
    if wrong:
        raise ConfigurationError(f"{what} has no usable {', '.join(wrong)}: make the archive with scripts/build-model")
    if (
        len(known["digest"]) != DIGEST_LENGTH
        or not known["labels"]
        or not all(isinstance(label, str) for label in known["labels"])
    ):
        raise ConfigurationError(f"{what} needs a SHA-256 digest and labels that are texts: build the archive again")
    try:
        # As the ledger's JSON has it: no NaN, no halves of characters.
        json.dumps(known, allow_nan=False, ensure_ascii=False).encode()
        Preprocessing.from_dict(known["preprocessing"])
        check_card(known)
    except CardError as error:
        raise ConfigurationError(f"{what}'s {error}") from error
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{what}: {error}") from error
    # How one machine runs it is nothing that the model is.
    return {name: value for name, value in known.items() if name != "runs_as"}
