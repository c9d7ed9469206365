"""The card of a model that TorchServe serves, requested from the model's own address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from sluice.errors import BatchRefused, ConfigurationError, EndpointDown, InferenceError
from sluice.inference import resolve
from sluice.inference.client import Endpoint, TorchServeClient
from sluice.settings import Settings

PREDICTIONS: Final = "/predictions/"
CARD_SECONDS: Final = 10.0
NAME_AND_VERSION: Final = 2


def split(url: str) -> tuple[str, str, str]:
    """Return server, name and version of http://HOST:PORT/predictions/NAME/VERSION."""
    server, found, model = url.partition(PREDICTIONS)
    parts = model.rstrip("/").split("/")
    try:
        looked_at = urlsplit(server)
        sound = looked_at.scheme in resolve.PORTS and bool(looked_at.hostname) and looked_at.port != 0
    except ValueError:
        sound = False
    if not sound or not found or len(parts) != NAME_AND_VERSION or not all(parts) or {"?", "#"} & set(url):
        raise ConfigurationError(f"{url!r} names no served model: expected http://HOST:PORT/predictions/NAME/VERSION")
    return server, parts[0], parts[1]


def fetch(url: str, settings: Settings, look_up: Callable[[str], list[Endpoint]] = resolve.endpoints) -> bytes:
    """Request the card from each address of a served model's URL until one returns it; else raise EndpointDown."""
    server, name, version = split(url)
    client = TorchServeClient(settings)
    try:
        endpoints = look_up(server)
    except OSError as error:
        raise EndpointDown(
            f"{server} has no address ({error.strerror}): is TorchServe there, and its name right?"
        ) from error
    whys: list[str] = []
    for endpoint in endpoints:
        try:
            return client.card(endpoint, f"{PREDICTIONS}{name}/{version}", CARD_SECONDS)
        except BatchRefused as error:
            whys.append(f"{error}: an archive without a card? Build it again with scripts/build-model")
        except InferenceError as error:
            whys.append(str(error))
    raise EndpointDown(f"no card of {name}@{version}: {'; '.join(whys)}")
