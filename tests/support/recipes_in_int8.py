"""A recipe in 8 bits as a person writes it: an untrained network, and pictures of theirs to calibrate it on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors.torch import save_file
from torchvision.models import squeezenet1_1

from tools.photos import names, sample

SIDE: Final = 64
COUNT: Final = 1300
RECIPE: Final = """\
name = "{name}"
version = "1.0"
architecture = "squeezenet1_1"
precision = "int8"
labels = ["drug", "néant", "other thing"]
[weights]
from = "w8.safetensors"
sha256 = "{sha256}"
[preprocessing]
resize = 64
crop = 64
interpolation = "bilinear"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
[calibration]
pictures = "pictures"
agreement = 0.5
agreement_sure = 0.5
"""


def write_pictures(folder: Path, count: int) -> None:
    """Write as many pieces of photographs, and something else."""
    folder.mkdir()
    samples = [sample(name).resize((320, 240)) for name in names()]
    dice = np.random.default_rng(2)
    for number in range(count):
        left, top = int(dice.integers(0, 320 - SIDE)), int(dice.integers(0, 240 - SIDE))
        cut = samples[number % len(samples)].crop((left, top, left + SIDE, top + SIDE))
        cut.save(folder / f"{number}.jpg", quality=90)
    (folder / "notes.txt").write_text("These are mine.")


def write_recipe(folder: Path, name: str) -> Path:
    """Write the recipe, its weights and the pictures; return the recipe's path."""
    torch.manual_seed(3)
    save_file(squeezenet1_1(num_classes=3).state_dict(), folder / "w8.safetensors")
    write_pictures(folder / "pictures", COUNT)
    text = RECIPE.format(name=name, sha256=hashlib.sha256((folder / "w8.safetensors").read_bytes()).hexdigest())
    (folder / f"{name}.toml").write_text(text)
    return folder / f"{name}.toml"
