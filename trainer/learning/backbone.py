"""A network that learned from others' pictures, without its last layer: what it makes of a picture are features."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from handlers.architectures import build
from sluice.errors import BuildError, TrainingError
from sluice.images import Preprocessing
from sluice.settings import Settings
from trainer.archives.recipe import EXPORT, NOOP, Recipe, read_recipe
from trainer.archives.sources import weights_file
from trainer.archives.weights import fit, read_tensors


class Backbone:
    """A recipe's network; `features` may be called from several threads."""

    def __init__(self, base: str, device: torch.device) -> None:
        recipe = _recipe(base)
        self.architecture = recipe.architecture
        self.preprocessing = Preprocessing.from_dict(recipe.preprocessing)
        self.device = device
        self.network = _network(recipe)
        self.last = _last_layer(self.network, base)
        layer = self.network.get_submodule(self.last)
        self.width = int(layer.in_features)  # type: ignore[arg-type]
        self.network.set_submodule(self.last, nn.Identity())
        self.network.eval().requires_grad_(requires_grad=False).to(device).to(memory_format=torch.channels_last)
        told = [recipe.architecture, recipe.sha256, recipe.preprocessing, torch.__version__, device.type]
        self.digest = hashlib.sha256(repr(told).encode()).hexdigest()
        self._mean, self._std = (
            (torch.tensor(values, device=device) * 255).view(1, 3, 1, 1)
            for values in (self.preprocessing.mean, self.preprocessing.std)
        )

    def prepared(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """Return pictures (n, height, width, 3) as the network takes them."""
        given = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float()
        return given.sub_(self._mean).div_(self._std).contiguous(memory_format=torch.channels_last)

    def features(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features of pictures, a row each."""
        with torch.inference_mode():
            found: NDArray[np.float32] = self.network(self.prepared(pixels)).flatten(1).float().cpu().numpy()
        return found

    def completed(self, labels: Sequence[str], weight: torch.Tensor, bias: torch.Tensor) -> nn.Module:
        """Return the whole network with a last layer for these labels, on the CPU."""
        whole = build(self.architecture, len(labels))
        state = {name: tensor.cpu() for name, tensor in self.network.state_dict().items()}
        whole.load_state_dict({**state, f"{self.last}.weight": weight.cpu(), f"{self.last}.bias": bias.cpu()})
        return whole.eval()


def device_of(settings: Settings) -> torch.device:
    """Return the device that the settings name, or raise TrainingError if it isn't there."""
    wanted = settings.trainer_device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"SLUICE_TRAINER_DEVICE is {wanted!r}, which can't be used: {error}") from error
    return device


def _recipe(base: str) -> Recipe:
    try:
        recipe = read_recipe(base, None)
    except BuildError as error:
        raise TrainingError(f"the base {base!r} can't be used: {error}") from error
    if recipe.architecture in {EXPORT, NOOP}:
        raise TrainingError(f"the base {base!r} has no last layer to train: use efficientnet-lite0, or resnet18")
    return recipe


def _network(recipe: Recipe) -> nn.Module:
    network = build(recipe.architecture, recipe.classes)
    with tempfile.TemporaryDirectory(prefix="sluice-base-") as cache:
        try:
            source = weights_file(recipe.weights, recipe.sha256, recipe.base, Path(cache))
            fit(network, read_tensors(source), source.name)
        except BuildError as error:
            raise TrainingError(f"the base {recipe.name!r} has no weights here: {error}") from error
    return network


def _last_layer(network: nn.Module, base: str) -> str:
    names = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    if not names:
        raise TrainingError(f"the base {base!r} doesn't end in a linear layer: use efficientnet-lite0, or resnet18")
    return str(names[-1])
