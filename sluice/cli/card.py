"""A model's card, read from an archive or from a TorchServe that serves it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from sluice.errors import ConfigurationError
from sluice.settings import Settings
from sluice.store.card import archived_card, checked_card

URL: Final = ("http://", "https://")


def read_card(source: str, settings: Settings) -> dict[str, Any]:
    """Read the card of an archive, or of the model behind http://HOST:PORT/predictions/NAME/VERSION."""
    return served_card(source, settings) if source.startswith(URL) else archived_card(Path(source))


def served_card(url: str, settings: Settings) -> dict[str, Any]:
    """Request the card of the model that TorchServe serves under this URL."""
    from sluice.inference import card as served  # noqa: PLC0415 - brings an HTTP client, numpy and Pillow

    _, name, version = served.split(url)
    try:
        card = json.loads(served.fetch(url, settings))
    except ValueError as error:
        raise ConfigurationError(f"{url} returns no card ({error}): is it TorchServe with Sluice's handler?") from error
    card = checked_card(card, f"{url}: the card")
    if (card["name"], card["version"]) != (name, version):
        raise ConfigurationError(
            f"{url} is the address of {card['name']}@{card['version']}: "
            "serve an archive under the name and version that its model.json has"
        )
    return card
