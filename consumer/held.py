"""An object that is leased to this consumer, and what is known about it so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sluice.domain import Model
from sluice.inference import Answer
from sluice.protocol import Failure, WorkItem

Pixels = npt.NDArray[np.uint8]


class LeaseOwner(Protocol):
    """Whoever leased an object to this consumer and is notified of its outcome: a session."""

    @property
    def is_lost(self) -> bool:
        """Return whether the leases are gone, so that work on their objects needn't begin."""

    def done(self, ids: Sequence[int]) -> None:
        """Report that predictions are committed."""

    def failed(self, failures: Sequence[Failure]) -> None:
        """Report that objects can't be classified."""

    def give_back(self, ids: Sequence[int], why: str = "") -> None:
        """Give objects back, and report what is wrong with their model."""


@dataclass(slots=True, eq=False)
class HeldObject:
    """One leased object on its way through the stages; each stage sets its fields."""

    item: WorkItem
    lessor: LeaseOwner
    received: float
    data: bytes | None = None
    weight: int = 0
    """Bytes that the object has reserved in the consumer's byte budget until it is decoded."""
    model: Model | None = None
    sha256: bytes = b""
    pixels: Pixels | None = None
    answer: Answer | None = None
    fault: tuple[str, str] | None = None
    """Reason and detail, if the object itself is at fault."""
    leads: bool = False
    """Other objects with the same bytes wait for this one's answer."""
    waits: bool = False
    """It waits for the answer of another object with the same bytes."""
    is_over: bool = False
    """The producer was notified of its outcome."""
