"""A network that computes in fewer bits than it learned with: made, measured, and refused if it lost too much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from handlers.running import runs_as
from sluice.domain.running import FP32, INT8, OPENVINO
from sluice.images import Preprocessing
from trainer.archives.agreement import CPU, agreement, check_agreement, check_runs
from trainer.archives.card import model_card
from trainer.archives.pictures import read_pictures
from trainer.archives.quantising import quantise
from trainer.archives.recipe import Calibration, Recipe

QUANTISED: Final = "quantised.safetensors"
KEPT: Final = (0, 3, 6, 12)
"""Convolutions that stay as they are: the first ones lose most, and mistakes grow on their way through a network."""


def measured(
    recipe: Recipe, calibration: Calibration, labels: Sequence[str], weights: Path
) -> tuple[Recipe, Path | None]:
    """Return the recipe with what was measured, and, in int8, the quantised network's file, beside the weights."""
    preprocessing = Preprocessing.from_dict(recipe.preprocessing)
    calibrating, measuring = read_pictures(calibration.pictures, recipe.base, preprocessing)
    check_runs(runs_as({"runtime": OPENVINO, "precision": recipe.precision}, CPU))
    folder, quantised = weights.parent, None
    if recipe.precision == INT8:
        quantised = folder / QUANTISED
        exact = model_card(replace(recipe, precision=FP32), labels, weights)
        for kept in KEPT:
            quantise(folder, exact, calibrating, kept, quantised)
            # Chosen by the pictures that it was calibrated on: the others measure what was chosen.
            if agreement(folder, model_card(recipe, labels, weights, OPENVINO, quantised), calibrating).reaches(
                calibration
            ):
                break
    found = agreement(folder, model_card(recipe, labels, weights, OPENVINO, quantised), measuring)
    metrics = found.metrics(recipe.precision)
    print("measured", ", ".join(f"{name} {value:g}" for name, value in metrics.items()), flush=True)
    check_agreement(found, recipe.precision, calibration)
    told = {**recipe.card.get("metrics", {}), **metrics}
    return replace(recipe, card={**recipe.card, "metrics": told}), quantised
