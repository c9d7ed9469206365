"""Batch norms folded into the convolutions before them: the same answers, and one pass less over each map."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fold(network: nn.Module) -> int:
    """Fold a network's batch norms, in place; return how many. One that can't be followed stays as it is."""
    pairs = list(_pairs(network))
    for convolution, name in pairs:
        norm = network.get_submodule(name)
        assert isinstance(norm, nn.BatchNorm2d)  # noqa: S101 - _pairs looked
        assert norm.running_mean is not None  # noqa: S101 - the same
        assert norm.running_var is not None  # noqa: S101 - the same
        weight, bias = fuse_conv_bn_weights(
            convolution.weight,
            convolution.bias,
            norm.running_mean,
            norm.running_var,
            norm.eps,
            norm.weight,
            norm.bias,
        )
        convolution.weight = nn.Parameter(weight.detach().contiguous(memory_format=torch.channels_last))
        convolution.bias = nn.Parameter(bias.detach())
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, nn.Identity())
    return len(pairs)


def _pairs(network: nn.Module) -> Iterator[tuple[nn.Conv2d, str]]:
    """Yield each convolution whose only use is a batch norm, with that norm's name. A layer that runs twice is none."""
    try:
        graph = _Layers().trace(network)
    except (TypeError, ValueError, RuntimeError, AttributeError, NameError):
        return  # its forward decides by its numbers
    calls = [node for node in graph.nodes if node.op == "call_module"]
    runs = [id(network.get_submodule(str(node.target))) for node in calls]
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    for node in calls:
        norm, before = network.get_submodule(str(node.target)), node.args[0] if node.args else None
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None or norm.running_var is None:
            continue
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) != 1:
            continue
        name = str(before.target)
        convolution = network.get_submodule(name)
        once = runs.count(id(norm)) == runs.count(id(convolution)) == 1
        if isinstance(convolution, nn.Conv2d) and name not in read and once:
            yield convolution, str(node.target)


class _Layers(fx.Tracer):
    """Follows a network down to its convolutions and norms; those of its own kind, which inherit, are not opened."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a layer is taken as a whole."""
        return isinstance(m, nn.Conv2d | nn.BatchNorm2d) or super().is_leaf_module(m, module_qualified_name)
