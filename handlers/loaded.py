"""A network that answers: an archive's, run as its card says and as this machine can."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from handlers.compiled import CompiledNetwork, compiled, model_of
from handlers.folding import fold
from handlers.networks import load
from handlers.quantised import read_quantised
from handlers.running import RunsAs, runs_as
from sluice.images import FP32, INT8, OPENVINO, TORCH, Preprocessing, WeightsError, check_weights

if TYPE_CHECKING:
    import openvino

logger = logging.getLogger(__name__)


class LoadedNetwork:
    """Turns pictures into probabilities."""

    def __init__(self, folder: Path, card: Mapping[str, Any], device: torch.device) -> None:
        """Load it; CardError if its weights aren't the card's, or nobody here knows what the card asks for."""
        self.preprocessing = Preprocessing.from_dict(card["preprocessing"])
        self.runs_as = runs_as(card, device)
        self._folder, self._card, self._device = folder, card, device
        # A full row: broadcasting three numbers would make the CPU loop over threes, five times slower.
        mean, std = (
            torch.tensor(values, device=device).repeat(self.preprocessing.crop)
            for values in (self.preprocessing.mean, self.preprocessing.std)
        )
        self._scale, self._shift = 1 / (255 * std), -mean / std
        self._network: nn.Module | None = None
        self._compiled: CompiledNetwork | None = None
        if self.runs_as.runtime == OPENVINO:
            self._compile()
        if self._compiled is None:
            self._network = self._load()
        if self.runs_as.why:
            logger.warning("%s@%s doesn't run as its card says: %s", card["name"], card["version"], self.runs_as.why)

    @property
    def network(self) -> nn.Module:
        """The network as torch has it, which is loaded again if something else answers with it."""
        if self._network is None:
            self._network = self._load()
        return self._network

    def probabilities(self, pictures: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        """Return a row for each picture of some arrays (n, height, width, 3)."""
        joined = pictures[0] if len(pictures) == 1 else np.concatenate(pictures)
        if self._compiled is not None:
            return self._compiled.scores(joined).softmax(1)
        return self.by_torch(joined)

    def by_torch(self, pictures: NDArray[np.uint8]) -> torch.Tensor:
        """Return what torch answers, whoever else runs the network."""
        with torch.inference_mode(), torch.autocast("cuda", torch.float16, enabled=self._device.type == "cuda"):
            outputs: torch.Tensor = self.network(self.prepared(pictures))
            return outputs.float().softmax(1)

    def prepared(self, pictures: NDArray[np.uint8]) -> torch.Tensor:
        """Move bytes to the device and normalise them there, without reordering them."""
        count, height, width, channels = pictures.shape
        rows = torch.from_numpy(pictures).to(self._device).view(count, height, width * channels)
        normal = rows.to(torch.float32).mul_(self._scale).add_(self._shift)
        return normal.view(pictures.shape).permute(0, 3, 1, 2)

    def _load(self) -> nn.Module:
        network = load(self._folder, self._card, self._device)
        fold(network)
        return network

    def _compile(self) -> None:
        make = self._maker()
        try:
            self._compiled = compiled(make, self.runs_as.precision, torch.get_num_threads())
        except WeightsError as error:
            self.runs_as = RunsAs(TORCH, FP32, str(error))
        else:
            self._network = None

    def _maker(self) -> Callable[[], openvino.Model]:
        """Return what makes OpenVINO's form of it; CardError if the quantised file isn't the card's."""
        if self.runs_as.precision != INT8:
            return partial(model_of, self.network, self.preprocessing)
        path = self._folder / self._card["quantised"]["file"]
        with path.open("rb") as file:
            check_weights(self._card, file, "quantised")
        return partial(read_quantised, path)
