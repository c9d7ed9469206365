"""An object that is leased to this consumer, and what is known about it so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sluice.domain import Model
from sluice.drift import PictureMeasures
from sluice.images import Preprocessing
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


@dataclass(frozen=True, slots=True)
class RunningTrial:
    """A trial, as a consumer needs it."""

    id: int
    share: float
    shadow: bool
    candidate: Model
    preprocessing: Preprocessing


@dataclass(slots=True, eq=False)
class CandidateAnswer:
    """What a trial's candidate says of some bytes; objects with the same bytes that wait for one another share it."""

    trial: RunningTrial
    pixels: Pixels | None = None
    answer: Answer | None = None
    failure: str = ""
    """Why it says nothing."""
    seconds: float = 0.0
    """How long it took; 0: it was known already."""

    @property
    def is_open(self) -> bool:
        """Return whether the candidate still has to be asked."""
        return self.answer is None and not self.failure


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
    measures: PictureMeasures | None = None
    answer: Answer | None = None
    seconds: float = 0.0
    """How long the model took for it; 0: it wasn't asked."""
    trial: RunningTrial | None = None
    """The trial that it is in, if its content is in the share."""
    candidate: CandidateAnswer | None = None
    fault: tuple[str, str] | None = None
    """Reason and detail, if the object itself is at fault."""
    leads: bool = False
    """Other objects with the same bytes wait for this one's answer."""
    waits: bool = False
    """It waits for the answer of another object with the same bytes."""
    is_over: bool = False
    """The producer was notified of its outcome."""

    @property
    def is_for_canary(self) -> bool:
        """Return whether a candidate is asked first, and the model only if that says nothing."""
        return self.candidate is not None and self.candidate.is_open and not self.candidate.trial.shadow
