"""How far fine-tuning is, kept in the store: the tuned numbers, the optimizer's, and the best ones so far."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch.optim import Optimizer

from sluice.objects.kept import KeptFiles

STATE: Final = ("exp_avg", "exp_avg_sq", "step")
"""What AdamW knows of each tensor."""

Tuned = dict[str, torch.Tensor]


@dataclass(slots=True)
class TuningState:
    """Where fine-tuning is: `step` of `epoch`, the losses of the epochs before, and the best numbers so far."""

    epoch: int
    step: int
    history: list[tuple[float, float]]
    best_loss: float
    best: Tuned
    loss_sum: float


class Checkpoints:
    """One file of the store."""

    def __init__(self, store: KeptFiles, key: str, inputs: str) -> None:
        """`inputs` is a digest of all that the result depends on: what was kept for others isn't gone on with."""
        self._store = store
        self._key = key
        self._inputs = inputs

    def save(self, state: TuningState, tuned: Tuned, descent: Optimizer) -> None:
        """Keep all that it takes to go on."""
        tensors = {f"now.{name}": tensor.detach() for name, tensor in tuned.items()}
        tensors |= {f"best.{name}": tensor for name, tensor in state.best.items()}
        for name, tensor in tuned.items():
            tensors |= {f"{part}.{name}": told for part, told in descent.state[tensor].items() if part in STATE}
        told = {
            "inputs": self._inputs,
            "epoch": state.epoch,
            "step": state.step,
            "history": state.history,
            "best_loss": state.best_loss,
            "loss_sum": state.loss_sum,
        }
        whole = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
        self._store.put(self._key, safetensors.torch.save(whole, {"told": json.dumps(told)}))

    def load(self, tuned: Tuned, descent: Optimizer) -> TuningState | None:
        """Go back to what was kept; None if nothing was, or for something else."""
        data = self._store.get(self._key)
        if data is None:
            return None
        try:
            tensors = safetensors.torch.load(data)
            length = int.from_bytes(data[:8], "little")
            told = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["told"])
            if told["inputs"] != self._inputs:
                return None
            best = {name: tensors[f"best.{name}"].to(tensor.device) for name, tensor in tuned.items()}
            now = {name: tensors[f"now.{name}"] for name in tuned}
            steps = {name: {part: tensors[f"{part}.{name}"] for part in STATE} for name in tuned}
        except (SafetensorError, KeyError, ValueError):
            return None
        if any(now[name].shape != tensor.shape for name, tensor in tuned.items()):
            return None
        with torch.no_grad():
            for name, tensor in tuned.items():
                tensor.copy_(now[name])
                descent.state[tensor].update(
                    {part: kept if part == "step" else kept.to(tensor.device) for part, kept in steps[name].items()}
                )
        history = [(float(learned), float(checked)) for learned, checked in told["history"]]
        return TuningState(
            told["epoch"], told["step"], history, float(told["best_loss"]), best, float(told["loss_sum"])
        )
