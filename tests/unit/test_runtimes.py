"""How networks are run: every way answers as torch does layer by layer, and a machine that lacks something says so."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from handlers.architectures import build
from handlers.folding import fold
from handlers.loaded import LoadedNetwork
from handlers.running import RunsAs, runs_as
from sluice.images import CardError, check_card, digest_of
from tests.support.corpus import SPEC
from trainer.archives.card import model_card
from trainer.archives.recipe import STORE, Recipe
from trainer.archives.weights import write_weights

ROOT: Final = Path(__file__).parents[2]
CPU: Final = torch.device("cpu")
SIDE: Final = 64
NEAR: Final = 1e-4
LABELS: Final = tuple(f"label {number}" for number in range(10))
ARCHITECTURES: Final = ("efficientnet-lite0", "resnet18", "resnet50", "efficientnet_b0")
OLD: Final = "flags : fpu sse4_2 avx2\n"
NEW: Final = "flags : fpu avx512_vnni avx512_bf16\n"


def trained(architecture: str) -> nn.Module:
    """Return a network whose norms know their maps, and which is sure of what it sees."""
    torch.manual_seed(5)
    network = build(architecture, len(LABELS)).train()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight)
    with torch.inference_mode():
        network(torch.from_numpy(pictures(8)).permute(0, 3, 1, 2) / 128 - 1)
    return network.eval()


def pictures(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8)


def unpacked(folder: Path, network: nn.Module, architecture: str, **told: str) -> dict[str, Any]:
    """Write what an archive has for its network; return the card."""
    write_weights(network, folder / "weights.safetensors")
    recipe = Recipe(
        name="m",
        version="1.0",
        architecture=architecture,
        labels=LABELS,
        weights="",
        sha256="",
        preprocessing={**SPEC.to_dict(), "crop": SIDE},
        card={},
        base=folder,
        precision=told.get("precision", "fp32"),
    )
    return model_card(recipe, LABELS, folder / "weights.safetensors", told.get("runtime", "torch"))


def layer_by_layer(network: nn.Module, given: NDArray[np.uint8]) -> torch.Tensor:
    batch = torch.from_numpy(given).permute(0, 3, 1, 2).double() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (SPEC.mean, SPEC.std))
    with torch.inference_mode():
        answers: torch.Tensor = network(((batch - mean) / std).float()).softmax(1)
    return answers


def test_the_networks_here_are_those_of_the_recipes() -> None:
    told = {line for path in STORE.glob("*.toml") for line in path.read_text().splitlines() if line.startswith("arch")}
    assert told == {f'architecture = "{name}"' for name in (*ARCHITECTURES, "noop")}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_folded_norms_change_no_answer(architecture: str) -> None:
    network = trained(architecture)
    before = layer_by_layer(network, pictures(2))
    norms = sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    assert fold(network) == norms > 0
    assert not [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert float((layer_by_layer(network, pictures(2)) - before).abs().max()) < NEAR
    assert float(before.max()) > 0.5, "all classes alike would hide differences"


class Shared(nn.Module):
    """Has a norm that must stay: its convolution's maps are used elsewhere too, or it runs twice."""

    def __init__(self, *, twice: bool) -> None:
        super().__init__()
        self.twice = twice
        self.maps, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        nn.init.constant_(self.norm.bias, 0.5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.maps(images)
        if self.twice:
            maps = self.maps(self.norm(maps))
        made: torch.Tensor = self.norm(maps)
        return (made if self.twice else made + maps).mean(dim=(2, 3))


class Choosing(nn.Module):
    """Can't be followed without numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.maps, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.norm(self.maps(images))
        return maps.mean(dim=(2, 3)) if maps.mean() > 0 else maps.amax(dim=(2, 3))


@pytest.mark.parametrize("network", [Shared(twice=False), Shared(twice=True), Choosing()])
def test_a_norm_that_cant_be_folded_stays(network: nn.Module) -> None:
    network.eval()
    before = layer_by_layer(network, pictures(2))
    assert fold(network) == 0
    assert torch.equal(layer_by_layer(network, pictures(2)), before)


@pytest.mark.parametrize("architecture", ["efficientnet-lite0", "resnet18"])
def test_openvino_answers_as_torch_does_in_any_batch(architecture: str, tmp_path: Path) -> None:
    network = trained(architecture)
    card = unpacked(tmp_path, network, architecture, runtime="openvino")
    loaded = LoadedNetwork(tmp_path, card, CPU)
    assert loaded.runs_as == RunsAs("openvino", "fp32")
    for count in (1, 5, 2, 19):
        given = pictures(count)
        wanted = layer_by_layer(network, given)
        assert float((loaded.probabilities([given[:1], given[1:]]) - wanted).abs().max()) < NEAR
        assert float((loaded.by_torch(given) - wanted).abs().max()) < NEAR


@pytest.mark.parametrize(
    ("runtime", "precision", "flags", "wanted"),
    [
        ("torch", "fp32", OLD, ("torch", "fp32", "")),
        ("openvino", "fp32", OLD, ("openvino", "fp32", "")),
        ("openvino", "bf16", NEW, ("openvino", "bf16", "")),
        ("openvino", "bf16", OLD, ("openvino", "fp32", "the processor has none of amx_bf16, avx512_bf16")),
        ("openvino", "int8", NEW, ("openvino", "int8", "")),
        ("openvino", "int8", OLD, ("openvino", "fp32", "the processor has none of amx_int8, avx512_vnni, avx_vnni")),
    ],
)
def test_a_processor_computes_with_what_it_has(
    runtime: str, precision: str, flags: str, wanted: tuple[str, str, str], tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{flags}")
    card = {"runtime": runtime, "precision": precision}
    assert runs_as(card, CPU, tmp_path / "cpuinfo") == RunsAs(*wanted)


def test_a_gpu_is_torchs_and_an_unknown_runtime_nobodys() -> None:
    assert runs_as({"runtime": "openvino"}, torch.device("cuda:0")).runtime == "torch"
    with pytest.raises(CardError, match="runtime is 'abacus'"):
        runs_as({"runtime": "abacus"}, CPU)


WITHOUT: Final = """\
import json, sys
sys.path[:0] = sys.argv[1:3]
import torch
from pathlib import Path
from handlers.loaded import LoadedNetwork
import numpy as np
folder = Path(sys.argv[3])
loaded = LoadedNetwork(folder, json.loads((folder / "model.json").read_text()), torch.device("cpu"))
found = loaded.probabilities([np.load(folder / "pictures.npy")])
print(json.dumps([loaded.runs_as.to_dict(), found.tolist()]))
"""


def test_without_openvino_torch_answers_and_says_why(tmp_path: Path) -> None:
    """The same archive in a Python that has every package but that one."""
    network = trained("resnet18")
    card = unpacked(tmp_path, network, "resnet18", runtime="openvino", precision="bf16")
    (tmp_path / "model.json").write_text(json.dumps(card))
    np.save(tmp_path / "pictures.npy", pictures(2))
    packages = tmp_path / "packages"
    packages.mkdir()
    for each in Path(sysconfig.get_path("purelib")).iterdir():
        if not each.name.startswith("openvino"):
            (packages / each.name).symlink_to(each)
    command = [sys.executable, "-I", "-S", "-c", WITHOUT, str(ROOT), str(packages), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told, answers = json.loads(done.stdout)
    assert told == {"runtime": "torch", "precision": "fp32", "why": "openvino isn't installed here"}
    assert "m@1.0 doesn't run as its card says: openvino isn't installed here" in done.stderr
    assert float((torch.tensor(answers) - layer_by_layer(network, pictures(2))).abs().max()) < NEAR


def test_only_a_precision_that_changes_answers_makes_another_model(tmp_path: Path) -> None:
    network = trained("resnet18")
    cards = [
        unpacked(tmp_path, network, "resnet18", runtime=runtime, precision=precision)
        for runtime, precision in (("torch", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"))
    ]
    old = {name: value for name, value in cards[0].items() if name not in {"runtime", "precision"}}
    for card in (*cards, old):
        check_card(card)
    assert cards[0]["digest"] == cards[1]["digest"] == old["digest"] != cards[2]["digest"]
    parts = (old["architecture"], old["weights"]["sha256"], old["preprocessing"], old["labels"])
    assert digest_of(*parts) == old["digest"]
    with pytest.raises(CardError, match="and precision make"):
        check_card({**cards[0], "precision": "bf16"})
    with pytest.raises(CardError, match=r"precision is 'fp4'.*upgrade Sluice"):
        check_card({**cards[0], "precision": "fp4"})
