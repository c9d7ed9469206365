"""How near a network in fewer bits comes to the same network in fp32: measured on pictures it wasn't calibrated on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from handlers.loaded import LoadedNetwork
from handlers.running import RunsAs
from sluice.domain.running import FP32
from sluice.errors import BuildError
from trainer.archives.recipe import Calibration

SURE: Final = 0.3
"""A score of fp32's from which on it means something."""
BATCH: Final = 32
CPU: Final = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Agreement:
    """Shares of pictures with the same best class, and the mean difference of its scores."""

    pictures: int
    same: float
    sure_pictures: int
    sure_same: float
    apart: float

    def reaches(self, wanted: Calibration) -> bool:
        """Return whether it is as near as it has to be."""
        return self.same >= wanted.agreement and self.sure_same >= wanted.agreement_sure

    def metrics(self, precision: str) -> dict[str, float]:
        """Return it for a card."""
        return {
            f"{precision} same label": round(self.same, 4),
            f"{precision} same label above {SURE}": round(self.sure_same, 4),
            f"{precision} score difference": round(self.apart, 5),
            f"{precision} pictures": self.pictures,
            f"{precision} pictures above {SURE}": self.sure_pictures,
        }


def check_runs(way: RunsAs) -> None:
    """Refuse what this machine runs in another way than its card says."""
    if way.why:
        raise BuildError(f"it can't be measured here: {way.why}: build it on a machine that will serve it")


def agreement(folder: Path, card: Mapping[str, Any], pictures: NDArray[np.uint8]) -> Agreement:
    """Measure a card's network, unpacked in a folder, against itself in fp32."""
    fewer = LoadedNetwork(folder, card, CPU)
    check_runs(fewer.runs_as)
    exact = _answers(LoadedNetwork(folder, {**card, "precision": FP32}, CPU), pictures)
    found = _answers(fewer, pictures)
    rows, best = np.arange(len(pictures)), exact.argmax(1)
    same, sure = found.argmax(1) == best, exact.max(1) > SURE
    return Agreement(
        pictures=len(pictures),
        same=float(same.mean()),
        sure_pictures=int(sure.sum()),
        sure_same=float(same[sure].mean()) if sure.any() else 1.0,
        apart=float(np.abs(found[rows, best] - exact[rows, best]).mean()),
    )


def check_agreement(found: Agreement, precision: str, wanted: Calibration) -> None:
    """Refuse a network that answers too often otherwise than fp32."""
    for share, bound, which, name in (
        (found.same, wanted.agreement, f"{found.pictures} pictures", "agreement"),
        (
            found.sure_same,
            wanted.agreement_sure,
            f"the {found.sure_pictures} that fp32 scores above {SURE}",
            "agreement_sure",
        ),
    ):
        if share < bound:
            raise BuildError(
                f"{precision} gives the same label as fp32 for {share:.2%} of {which}, the bound is {bound:.2%}: "
                f"calibrate it on pictures like those that it will meet, leave it in bf16 or fp32, or, if that is "
                f"good enough, lower {name} in [calibration]"
            )


def _answers(network: LoadedNetwork, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.concatenate([network.probabilities([batch]).numpy() for batch in _batches(pictures)])


def _batches(pictures: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(pictures), BATCH):
        yield pictures[start : start + BATCH]
