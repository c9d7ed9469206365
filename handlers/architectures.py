"""The networks that a model archive can contain, by name and without weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

MAP_DIMENSIONS: Final = 4


def build(name: str, classes: int) -> nn.Module:
    """Make the network of that name with so many outputs; ValueError says which networks there are."""
    if name == "noop":
        return Noop(classes)
    if name == "efficientnet-lite0":
        return _efficientnet_lite0(classes)
    import torchvision.models  # noqa: PLC0415 - takes seconds, and only its networks need it

    if name not in torchvision.models.list_models(module=torchvision.models):
        raise ValueError(f"architecture {name!r}: expected noop, efficientnet-lite0 or a classifier of torchvision's")
    network: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
    return network


class Noop(nn.Module):
    """Costs almost nothing and still depends on the image: measures everything except the model."""

    STEP: Final = 28
    mixing: torch.Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        features = 3 * 8 * 8
        angles = torch.arange(features * classes, dtype=torch.float64).reshape(features, classes)
        self.register_buffer("mixing", torch.cos(angles * 0.7548776662).float(), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Mix every 28th pixel of each 28th row into a number a class."""
        seen = images[:, :, :: self.STEP, :: self.STEP].float().reshape(images.shape[0], -1)
        return seen @ self.mixing.to(seen.dtype)


class LastFeatures:
    """The last feature maps, (n, channels, height, width), that a network computes; None if it has none."""

    def __init__(self) -> None:
        self.maps: torch.Tensor | None = None

    @contextmanager
    def watch(self, network: nn.Module) -> Iterator[None]:
        """Watch the outputs of the network's layers during the block."""
        hooks: list[RemovableHandle] = [layer.register_forward_hook(self._look) for layer in network.modules()]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _look(self, layer: nn.Module, given: object, made: object) -> None:
        del given
        if isinstance(layer, nn.MultiheadAttention):
            self.maps = None  # maps before attention say nothing about places any more
        elif isinstance(made, torch.Tensor) and made.dim() == MAP_DIMENSIONS and min(made.shape[2:]) > 1:
            self.maps = made


def _efficientnet_lite0(classes: int) -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415 - a TorchServe of other models lacks it

    network: nn.Module = EfficientNet.from_name("efficientnet-lite0", num_classes=classes)
    for layer in network.modules():
        # The convolution can do symmetric padding itself, without copying the picture.
        pad = getattr(layer, "static_padding", None)
        if isinstance(layer, nn.Conv2d) and isinstance(pad, nn.ZeroPad2d):
            left, right, top, bottom = pad.padding
            if left == right and top == bottom:
                layer.padding = (top, left)
                layer.static_padding = nn.Identity()
    return network
