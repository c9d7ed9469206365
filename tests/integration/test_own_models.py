"""Networks of one's own in a real TorchServe: as safetensors, as a program of torch.export, and in 8 bits."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import requests
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from handlers.loaded import LoadedNetwork
from sluice.cli.card import read_card
from sluice.images import BATCH_TYPE, pack
from sluice.ledger import Database, models
from sluice.settings import read_settings
from sluice.store.card import archived_card
from tests.support.programs import exported
from tests.support.recipes_in_int8 import NAME as IN_INT8
from tests.support.recipes_in_int8 import SIDE, shared_recipe, why_not_here
from tools.photos import photograph
from tools.stack import ROOT, Servers, TorchServe

LABELS: Final = ["drug", "néant", "other thing"]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
NAMES: Final = ("own", "own-program")
RECIPE: Final = """\
name = "{name}"
version = "1.0"
architecture = "{architecture}"
labels = "labels.txt"
[weights]
from = "{file}"
sha256 = "{sha256}"
[preprocessing]
resize = 224
crop = 224
interpolation = "bilinear"
mean = {mean}
std = {std}
[card]
description = "For a test."
licence = "Apache-2.0"
made = 2026-11-27
[card.metrics]
accuracy = 0.5
"""


def build(recipe: Path, output: Path) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / ".venv/bin/sluice"), "models", "build", str(recipe), "--output", str(output)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    from torchvision.models import squeezenet1_1  # noqa: PLC0415 - takes seconds

    torch.manual_seed(3)
    made: nn.Module = squeezenet1_1(num_classes=len(LABELS)).eval()
    return made


@pytest.fixture(scope="module")
def archives(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Build both as a person does."""
    folder = tmp_path_factory.mktemp("recipes")
    save_file(network.state_dict(), folder / "w.safetensors")
    (folder / "w.pt2").write_bytes(exported(network, 224))
    (folder / "labels.txt").write_text("\n".join(LABELS), encoding="utf-8")
    for name, architecture, file in zip(NAMES, ("squeezenet1_1", "export"), ("w.safetensors", "w.pt2"), strict=True):
        told = {"sha256": hashlib.sha256((folder / file).read_bytes()).hexdigest(), "mean": MEAN, "std": STD}
        text = RECIPE.format(name=name, architecture=architecture, file=file, **told)
        (folder / f"{name}.toml").write_text(text)
        command = [
            str(ROOT / ".venv/bin/sluice"),
            "models",
            "build",
            str(folder / f"{name}.toml"),
            "--output",
            str(folder / "store"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert f"model    {name}@1.0" in done.stdout
    return [folder / "store" / f"{name}.mar" for name in NAMES]


@pytest.fixture(scope="module")
def in_int8(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Build one that is calibrated on a person's pictures, if this machine can measure it."""
    if why_not_here():
        return []
    with shared_recipe(tmp_path_factory) as recipe:
        done = build(recipe, recipe.parent / "store")
    assert done.returncode == 0, done.stderr
    return [recipe.parent / "store" / f"{IN_INT8}.mar"]


@pytest.fixture(scope="module")
def server(
    servers: Servers, archives: list[Path], in_int8: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TorchServe]:
    made = TorchServe(tmp_path_factory.mktemp("own"), servers.leash, [*archives, *in_int8], name="own-models")
    made.start()
    made.wait_ready()
    yield made
    made.stop()


def pictures(count: int) -> list[NDArray[np.uint8]]:
    dice = np.random.default_rng(7)
    return [dice.integers(0, 256, (224, 224, 3)).astype(np.uint8) for _ in range(count)]


def as_torch_says(network: nn.Module, images: list[NDArray[np.uint8]]) -> Any:  # noqa: ANN401 - an array
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    with torch.inference_mode():
        return network((batch - mean) / std).softmax(1).numpy()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [1, 2, 33])
def test_it_answers_as_torch_itself_does(server: TorchServe, network: nn.Module, name: str, count: int) -> None:
    images = pictures(count)
    answer = requests.post(
        f"{server.address}/predictions/{name}/1.0",
        bytes(pack(images)),
        headers={"Content-Type": BATCH_TYPE},
        timeout=60,
    )
    found = np.zeros((count, len(LABELS)))
    for row, top in enumerate(answer.json()["predictions"]):
        assert [score for _, score in top] == sorted((score for _, score in top), reverse=True)
        for number, score in top:
            found[row, number] = score
    assert np.abs(found - as_torch_says(network, images)).max() < 1e-5


def test_in_8_bits_it_answers_as_its_archive_does_here(server: TorchServe, in_int8: list[Path], tmp_path: Path) -> None:
    if not in_int8:
        pytest.skip(f"int8 can't be measured here: {why_not_here()}")
    (archive,) = in_int8
    card = archived_card(archive)
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path)
    network = LoadedNetwork(tmp_path, card, torch.device("cpu"))
    images = [np.ascontiguousarray(image[:SIDE, :SIDE]) for image in pictures(5)]
    url, kind = f"{server.address}/predictions/{IN_INT8}/1.0", {"Content-Type": BATCH_TYPE}
    answer = requests.post(url, bytes(pack(images)), headers=kind, timeout=60).json()
    for said, expected in zip(answer["predictions"], network.probabilities([np.stack(images)]), strict=True):
        assert dict(said) == pytest.approx({number: float(score) for number, score in enumerate(expected)}, abs=1e-4)
    assert read_card(url, read_settings())["precision"] == "int8"


@pytest.mark.parametrize("name", NAMES)
def test_a_person_gets_its_labels(server: TorchServe, name: str) -> None:
    picture = photograph("china").read_bytes()
    answer = requests.post(f"{server.address}/predictions/{name}", picture, timeout=60).json()
    assert set(answer) == set(LABELS)
    assert sum(answer.values()) == pytest.approx(1, abs=1e-5)


def test_the_card_is_the_same_wherever_it_is_asked_for(
    server: TorchServe, archives: list[Path], ledger: Database
) -> None:
    for name, archive in zip(NAMES, archives, strict=True):
        card = archived_card(archive)
        assert (card["labels"], card["classes"], card["metrics"]) == (LABELS, 3, {"accuracy": 0.5})
        url = f"{server.address}/predictions/{name}/1.0"
        assert read_card(url, read_settings()) == card
        management = f"http://127.0.0.1:{server.ports['management_port']}/models/{name}/1.0?customized=true"
        (described,) = requests.get(management, timeout=60).json()
        assert described["customizedMetadata"] == card
        parts = {part: card[part] for part in ("name", "version", "digest", "preprocessing", "labels")}
        assert models.card_of(ledger.run(partial(models.register, **parts, card=card))) == card


def test_what_has_no_maps_of_features_says_so(server: TorchServe) -> None:
    body, kind = bytes(pack(pictures(1))), {"Content-Type": BATCH_TYPE}
    said = requests.post(f"{server.address}/explanations/own-program", body, headers=kind, timeout=60).json()
    assert "no feature maps" in said["error"]


def test_a_recipe_that_cannot_be_built_says_why_and_leaves_nothing(archives: list[Path]) -> None:
    folder = archives[0].parent.parent
    recipe = folder / "wrong.toml"
    recipe.write_text(
        (folder / "own.toml").read_text().replace('"own"', '"wrong"').replace('"labels.txt"', '["a", "b"]')
    )
    done = build(recipe, folder / "store")
    assert done.returncode == 2
    assert "classifier.1.weight is (3, 512, 1, 1), expected (2, 512, 1, 1)" in done.stderr
    assert not list((folder / "store").glob("wrong*"))
