"""A model as the ledger knows it and TorchServe serves it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

LABEL_MAX: Final = 128
"""Characters of a label that a prediction's row keeps."""


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
    card: dict[str, Any] = field(default_factory=dict)
    """What else its archive says of it; nothing, where it was registered by a release that kept no cards."""
    retired: bool = False
    """No new job may ask for it, and it can't become live."""
    archive_sha256: str = ""
    """Of its archive in the model store; empty for a model that came to TorchServe another way."""
    failed: str = ""
    """Why no TorchServe can load it."""
