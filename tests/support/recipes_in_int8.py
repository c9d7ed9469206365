"""A recipe in 8 bits as a person writes it: an untrained network, and pictures of theirs to calibrate it on."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from handlers.running import runs_as
from sluice.images import INT8, OPENVINO
from tools.photos import names, sample

NAME: Final = "own-int8"
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
    folder.mkdir(exist_ok=True)
    samples = [sample(name).resize((320, 240)) for name in names()]
    dice = np.random.default_rng(2)
    for number in range(count):
        left, top = int(dice.integers(0, 320 - SIDE)), int(dice.integers(0, 240 - SIDE))
        cut = samples[number % len(samples)].crop((left, top, left + SIDE, top + SIDE))
        cut.save(folder / f"{number}.jpg", quality=90)
    (folder / "notes.txt").write_text("These are mine.")


def write_recipe(folder: Path, name: str) -> Path:
    """Write the recipe, its weights and the pictures; return the recipe's path."""
    from torchvision.models import squeezenet1_1  # noqa: PLC0415 - takes seconds

    torch.manual_seed(3)
    save_file(squeezenet1_1(num_classes=3).state_dict(), folder / "w8.safetensors")
    write_pictures(folder / "pictures", COUNT)
    text = RECIPE.format(name=name, sha256=hashlib.sha256((folder / "w8.safetensors").read_bytes()).hexdigest())
    (folder / f"{name}.toml").write_text(text)
    return folder / f"{name}.toml"


def why_not_here() -> str:
    """Return why this machine's processor can't run a network in int8, if it can't."""
    return runs_as({"runtime": OPENVINO, "precision": INT8}, torch.device("cpu")).why


@contextmanager
def shared_recipe(factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield the recipe in a folder that all processes of a run share, to one of them at a time.

    Building it takes long; what one has built beside it, the others find built.
    """
    own = factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "int8"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        recipe = folder / f"{NAME}.toml"
        yield recipe if recipe.exists() else write_recipe(folder, NAME)
