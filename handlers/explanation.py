"""Explains a network's best class: Grad-CAM (Selvaraju et al., 2017) on its last feature maps.

Each map is weighted by its gradient, how much the class's score grows with it; negative contributions are dropped.
"""

from __future__ import annotations

import base64
from typing import Any

import torch
from torch import nn

from handlers.architectures import LastFeatures


def explain(network: nn.Module, image: torch.Tensor) -> dict[str, Any] | str:
    """Return the best class of one normalized picture and how much each part contributes; or why that isn't possible.

    The parts are rows of the square that the network saw, from the top, as bytes in base64: 255 contributes most.
    """
    features = LastFeatures()
    with torch.enable_grad(), features.watch(network):
        scores = network(image)
    number = int(scores[0].argmax())
    if features.maps is None or not features.maps.requires_grad:
        return "this model has no feature maps, so its answers can't be explained"
    (slopes,) = torch.autograd.grad(scores[0, number], features.maps)
    with torch.no_grad():
        weights = slopes.float().mean(dim=(2, 3), keepdim=True)
        parts = (weights * features.maps.float()).sum(dim=1)[0].relu()
        most = float(parts.max())
        if not most > 0:
            return "no part of this picture contributes to the label by itself"
        rows = (parts * (255 / most)).round().to(torch.uint8).cpu()
        probability = float(scores.float().softmax(1)[0, number])
    return {
        "class": number,
        "score": round(probability, 6),
        "rows": rows.shape[0],
        "columns": rows.shape[1],
        "map": base64.b64encode(rows.numpy().tobytes()).decode("ascii"),
    }
