"""A model as the ledger knows it and TorchServe serves it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Model:
    """A row of `models`."""

    id: int
    name: str
    version: str
    digest: str
    preprocessing: dict[str, object]
    labels: list[str]
    live: bool
