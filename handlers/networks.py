"""An archive's network with its weights, as its card says: safetensors, or a program of torch.export."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from handlers.architectures import build
from handlers.programs import load_program
from sluice.images import WeightsError, check_weights

EXPORT: Final = "export"


def load(folder: Path, card: Mapping[str, Any], device: torch.device) -> nn.Module:
    """Return the network, ready to answer on a device; CardError if its weights aren't the card's."""
    weights = card["weights"]
    path = None if weights is None else folder / weights["file"]
    if path is not None:
        with path.open("rb") as file:
            check_weights(card, file)
    if path is not None and card["architecture"] == EXPORT:
        return load_program(path, device)
    network = build(card["architecture"], len(card["labels"]))
    if path is not None:
        try:
            network.load_state_dict(load_file(path))
        except (SafetensorError, RuntimeError) as error:
            raise WeightsError(f"{path.name} has no weights of {card['architecture']}: {error}") from error
    return network.eval().to(device).to(memory_format=torch.channels_last)
