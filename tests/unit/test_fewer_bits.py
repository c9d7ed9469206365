"""Networks in 8 bits: made of a recipe and a person's pictures, measured, and refused if they lost too much."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from handlers.loaded import LoadedNetwork
from handlers.quantised import check_graph, write_quantised
from handlers.running import RunsAs
from sluice.errors import BuildError, CardError, WeightsError
from sluice.images import check_card
from sluice.store.archive import check_archive
from tests.support.recipes_in_int8 import COUNT, SIDE, shared_recipe, why_not_here, write_pictures, write_recipe
from trainer.archives.agreement import Agreement, check_agreement
from trainer.archives.making import build
from trainer.archives.quantising import quantise
from trainer.archives.recipe import Calibration, read_recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipe"), "small")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    if why := why_not_here():
        pytest.skip(f"int8 can't be measured here: {why}")
    with shared_recipe(tmp_path_factory) as recipe:
        archive, card, _ = build(read_recipe(str(recipe), None), recipe.parent / "store", recipe.parent, force=False)
    return archive, card


def test_an_archive_in_int8_says_how_well_it_agrees(built: tuple[Path, dict[str, Any]]) -> None:
    archive, card = built
    assert check_archive(archive, 10**9).card == card
    assert (card["runtime"], card["precision"]) == ("openvino", "int8")
    assert card["metrics"]["int8 pictures"] == COUNT - 300
    assert 0.5 <= card["metrics"]["int8 same label"] <= 1
    assert 0 <= card["metrics"]["int8 score difference"] < 0.1


@pytest.mark.skipif(not why_not_here(), reason="the processor runs int8")
def test_a_machine_that_cannot_run_int8_says_so_before_it_calibrates(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"the processor has none of .* build it on a machine that will serve it"):
        build(read_recipe(str(recipe), None), tmp_path / "store", tmp_path, force=False)
    assert not list(tmp_path.glob("store/*.mar"))


def test_it_answers_in_int8_and_without_the_file_not_at_all(built: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    archive, card = built
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path)
    network = LoadedNetwork(tmp_path, card, torch.device("cpu"))
    assert network.runs_as == RunsAs("openvino", "int8")
    pictures = np.random.default_rng(1).integers(0, 256, (5, SIDE, SIDE, 3)).astype(np.uint8)
    apart = (network.probabilities([pictures]) - network.by_torch(pictures)).abs().max()
    assert 0 < float(apart) < 0.1
    quantised = tmp_path / card["quantised"]["file"]
    write_quantised(b"<net/>", b"", quantised)
    with pytest.raises(CardError, match=r"quantised\.safetensors has sha256"):
        LoadedNetwork(tmp_path, card, torch.device("cpu"))


def test_what_was_quantised_is_part_of_the_digest(built: tuple[Path, dict[str, Any]]) -> None:
    _, card = built
    check_card(card)
    for changed in (
        {"precision": "bf16"},
        {"quantised": None},
        {"quantised": {**card["quantised"], "sha256": "0" * 64}},
    ):
        with pytest.raises(CardError):
            check_card({**card, **changed})


def test_first_convolutions_may_stay_as_they_are(built: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    archive, card = built
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path)
    dice = np.random.default_rng(4)
    pictures = dice.integers(0, 256, (8, SIDE, SIDE, 3)).astype(np.uint8)
    quantised = []
    for kept in (0, 6):
        quantise(tmp_path, card, pictures, kept, tmp_path / "q.safetensors")
        quantised.append(load_file(tmp_path / "q.safetensors")["graph"].tobytes().count(b'type="FakeQuantize"'))
    assert quantised[1] < quantised[0]


def test_a_bound_that_is_missed_is_told_with_its_remedy() -> None:
    found = Agreement(pictures=1000, same=0.96, sure_pictures=400, sure_same=0.985, apart=0.01)
    with pytest.raises(BuildError, match=r"98\.50% of the 400 that fp32 scores above 0\.3, the bound is 99\.00%.*low"):
        check_agreement(found, "int8", Calibration("x"))
    with pytest.raises(BuildError, match=r"96\.00% of 1000 pictures, the bound is 97\.00%"):
        check_agreement(found, "int8", Calibration("x", agreement=0.97))
    check_agreement(replace(found, sure_same=0.99), "int8", Calibration("x"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('pictures = "pictures"', 'pictures = "nowhere"', "isn't a folder"),
        ('pictures = "pictures"', 'pictures = "few"', "has 3 pictures that can be decoded: 300 are needed"),
        ('pictures = "pictures"', "", "expected pictures"),
        ("agreement = 0.5", "agreement = 95", "expected a share from 0 to 1"),
        ("[calibration]", "[calibration]\nmore = 1", "expected pictures, and only"),
        ('precision = "int8"', 'precision = "int4"', "expected fp32, bf16, int8"),
        ('precision = "int8"', 'precision = "int8"\nruntime = "torch"', 'needs runtime = "openvino"'),
        ('precision = "int8"', 'runtime = "abacus"', "expected torch or openvino"),
        ('precision = "int8"', "", "calibration is for precision bf16 or int8"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(recipe: Path, old: str, new: str, said: str) -> None:
    if not (recipe.parent / "few").exists():
        write_pictures(recipe.parent / "few", 3)
    wrong = recipe.with_name("wrong.toml")
    wrong.write_text(recipe.read_text().replace(old, new))
    with pytest.raises(BuildError, match=said):
        build(read_recipe(str(wrong), None), recipe.parent / "store", recipe.parent, force=True)


def test_int8_needs_pictures(recipe: Path) -> None:
    wrong = recipe.with_name("bare.toml")
    wrong.write_text(recipe.read_text().partition("[calibration]")[0])
    with pytest.raises(BuildError, match="needs pictures like those"):
        read_recipe(str(wrong), None)


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (b'<!DOCTYPE x [<!ENTITY a "b">]><net><layer type="Result" version="opset1"/></net>', "markup"),
        (b'<net><layer id="0" type="ReadValue" version="opset6"/></net>', "isn't known"),
        (b'<net><layer id="0" type="Own" version="extension"/></net>', "isn't known"),
        (b" " * (16 * 1024 * 1024 + 1), "larger than"),
    ],
)
def test_a_graph_with_anything_else_is_refused(graph: bytes, said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        check_graph(graph, "q")
    check_graph(b'<?xml version="1.0"?><net><layer id="0" type="Result" version="opset1"/></net>', "q")
