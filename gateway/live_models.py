"""The models that requests name, looked up in the ledger at most every few seconds: a promotion is obeyed by then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from gateway.ledgers import LedgerPool
from sluice.domain import Model
from sluice.errors import ConfigurationError, RequestError
from sluice.images import Preprocessing
from sluice.ledger import models

FRESH_SECONDS: Final = 2.0
MOST: Final = 256


@dataclass(frozen=True, slots=True)
class UsableModel:
    """A model, with its preprocessing read."""

    model: Model
    preprocessing: Preprocessing


class LiveModels:
    """What '', 'name' and 'name@version' mean now."""

    def __init__(self, ledger: LedgerPool, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._clock = clock
        self._found: dict[str, tuple[float, UsableModel]] = {}

    async def get(self, spec: str) -> UsableModel:
        """Return the model that is meant, or raise RequestError with what to do."""
        known = self._found.get(spec)
        if known is not None and self._clock() - known[0] < FRESH_SECONDS:
            return known[1]
        try:
            model = await self._ledger.run(models.resolve, spec)
            usable = UsableModel(model, Preprocessing.from_dict(model.preprocessing))
        except ConfigurationError as error:
            status = HTTPStatus.NOT_FOUND if spec else HTTPStatus.SERVICE_UNAVAILABLE
            raise RequestError(status, str(error)) from error
        except ValueError as error:
            raise RequestError(
                HTTPStatus.SERVICE_UNAVAILABLE, f"{model.name}@{model.version} can't be used: {error}"
            ) from error
        if len(self._found) >= MOST:
            self._found.clear()
        self._found[spec] = (self._clock(), usable)
        return usable
