"""TorchServe's management API: which versions it has, and to add, scale and remove some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import requests

from sluice.errors import EndpointDown

ASK_SECONDS: Final = 10.0
LOAD_SECONDS: Final = 330.0
"""A little more than TorchServe itself waits for a worker (default_startup_timeout)."""
PAGE: Final = 100
SAID: Final = 500


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A version that TorchServe has."""

    file: str
    """The archive's name in TorchServe's store."""
    workers: int
    is_ready: bool
    is_default: bool
    """Whether it answers where no version is named."""


class Management:
    """The management port of one TorchServe; calls raise EndpointDown while it doesn't answer."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def versions(self) -> dict[tuple[str, str], LoadedVersion]:
        """Return what TorchServe has, by name and version."""
        found = {}
        for name in self._names():
            status, default = self._ask("GET", f"/models/{name}")
            status, every = self._ask("GET", f"/models/{name}/all") if status == HTTPStatus.OK else (status, [])
            if status == HTTPStatus.NOT_FOUND:
                continue  # removed in between
            for each in _described(every):
                states = [worker.get("status") for worker in each["workers"]]
                found[name, str(each["modelVersion"])] = LoadedVersion(
                    str(each["modelUrl"]),
                    len(states),
                    "READY" in states,
                    each["modelVersion"] == _described(default)[0]["modelVersion"],
                )
        return found

    def card(self, name: str, version: str) -> dict[str, Any]:
        """Return the card that a version's worker answers with."""
        status, said = self._ask("GET", f"/models/{name}/{version}", {"customized": "true"})
        card = _described(said)[0].get("customizedMetadata") if status == HTTPStatus.OK else None
        return card if isinstance(card, dict) else {}

    def register(self, file: str, workers: int) -> str:
        """Load an archive of the store and wait until its workers answer; return why they don't, empty if they do."""
        query: dict[str, object] = {"url": file, "initial_workers": workers, "synchronous": "true"}
        status, said = self._ask("POST", "/models", query, LOAD_SECONDS)
        return "" if status in {HTTPStatus.OK, HTTPStatus.CONFLICT} else _message(status, said)

    def scale(self, name: str, version: str, workers: int) -> str:
        """Have a version run in so many processes."""
        bounds: dict[str, object] = {"min_worker": workers, "max_worker": workers, "synchronous": "true"}
        status, said = self._ask("PUT", f"/models/{name}/{version}", bounds, LOAD_SECONDS)
        return "" if status < HTTPStatus.BAD_REQUEST else _message(status, said)

    def set_default(self, name: str, version: str) -> str:
        """Have a version answer where none is named."""
        status, said = self._ask("PUT", f"/models/{name}/{version}/set-default")
        return "" if status == HTTPStatus.OK else _message(status, said)

    def unregister(self, name: str, version: str) -> str:
        """Remove a version; the default one only if it is the last of its name."""
        status, said = self._ask("DELETE", f"/models/{name}/{version}", seconds=LOAD_SECONDS)
        return "" if status in {HTTPStatus.OK, HTTPStatus.NOT_FOUND} else _message(status, said)

    def _names(self) -> list[str]:
        names: list[str] = []
        token: str | None = ""
        while token is not None:
            page: dict[str, object] = {"limit": PAGE, **({"next_page_token": token} if token else {})}
            status, said = self._ask("GET", "/models", page)
            if status != HTTPStatus.OK or not isinstance(said, dict):
                raise EndpointDown(f"TorchServe doesn't list its models: {_message(status, said)}")
            names += [str(each["modelName"]) for each in said["models"]]
            token = said.get("nextPageToken")
        return names

    def _ask(
        self, method: str, path: str, query: Mapping[str, object] | None = None, seconds: float = ASK_SECONDS
    ) -> tuple[int, Any]:
        told = {name: str(value) for name, value in (query or {}).items()}
        try:
            with requests.Session() as session:
                # No proxy and no .netrc: the environment's are for the model store, and TorchServe is in the same pod.
                session.trust_env = False
                answer = session.request(method, self._url + path, params=told, timeout=seconds)
        except requests.RequestException as error:
            raise EndpointDown(
                f"TorchServe's management port {self._url} doesn't answer ({type(error).__name__}): is it starting?"
            ) from error
        try:
            return answer.status_code, answer.json()
        except ValueError:
            return answer.status_code, answer.text


def _described(said: object) -> list[dict[str, Any]]:
    if not isinstance(said, list) or not all(isinstance(each, dict) for each in said):
        raise EndpointDown("TorchServe's management port gives no description of a model: is it TorchServe's?")
    return said


def _message(status: int, said: object) -> str:
    told = said.get("message") if isinstance(said, dict) else said
    return f"{status}: {' '.join(str(told).split())[:SAID]}"
