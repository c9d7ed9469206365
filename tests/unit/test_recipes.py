"""Recipes and labels as strangers write them: read, or refused in a sentence."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluice.domain import LABEL_MAX
from sluice.errors import BuildError
from sluice.images import check_card
from sluice.store.card import archived_card
from trainer.archives.card import model_card
from trainer.archives.labels import LABELS_MAX, imagenet_labels, read_labels
from trainer.archives.making import write_archive
from trainer.archives.recipe import Recipe, read_recipe

RECIPE = """\
name = "drugs"
version = "1.0"
architecture = "resnet18"
labels = ["drug", "other"]

[weights]
from = "w.safetensors"
sha256 = "{sha256}"

[preprocessing]
resize = 256
crop = 224
interpolation = "bilinear"
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]

[card]
description = "Tells whether a picture shows a drug."
licence = "Apache-2.0"
made_by = "Somebody"
made = 2026-11-27
data_digest = "{sha256}"

[card.metrics]
accuracy = 0.97
"recall of drug" = 0.91
"""
TEXT = RECIPE.format(sha256="ab" * 32)
FIXTURE = [HealthCheck.function_scoped_fixture]


def read(folder: Path, text: str) -> Recipe:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return read_recipe(str(path), None)


def test_a_recipe_says_it_all(tmp_path: Path) -> None:
    recipe = read(tmp_path, TEXT)
    assert (recipe.labels, recipe.classes, recipe.base) == (("drug", "other"), 2, tmp_path)
    assert recipe.card == {
        "description": "Tells whether a picture shows a drug.",
        "licence": "Apache-2.0",
        "made_by": "Somebody",
        "made": "2026-11-27",
        "data_digest": "ab" * 32,
        "metrics": {"accuracy": 0.97, "recall of drug": 0.91},
    }


def test_a_card_tells_it_and_its_digest_covers_what_predicts(tmp_path: Path) -> None:
    recipe = read(tmp_path, TEXT)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")
    card = model_card(recipe, recipe.labels or (), weights)
    check_card(card)
    assert (card["classes"], card["licence"], card["metrics"]["accuracy"]) == (2, "Apache-2.0", 0.97)
    assert card["weights"] | {"sha256": ""} == {"file": weights.name, "sha256": "", "source_sha256": "ab" * 32}
    other = read(tmp_path, TEXT.replace("0.97", "0.5").replace("Apache-2.0", "MIT"))
    assert model_card(other, other.labels or (), weights)["digest"] == card["digest"]
    other = read(tmp_path, TEXT.replace('"drug", "other"', '"other", "drug"'))
    assert model_card(other, other.labels or (), weights)["digest"] != card["digest"]
    write_archive(card, weights, tmp_path / "drugs.mar")
    assert archived_card(tmp_path / "drugs.mar") == card


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('["drug", "other"]', '["drug"]', "1 labels: expected 2"),
        ('["drug", "other"]', '["drug", "drug"]', "'drug' is there twice"),
        ('["drug", "other"]', '["drug", " drug "]', "'drug' is there twice"),
        ('["drug", "other"]', '["drug", " "]', "label 2 is empty"),
        ('["drug", "other"]', '["drug", 2]', "2 is no text"),
        ('["drug", "other"]', '["drug", "a\\u0007"]', "can't be shown"),
        ('["drug", "other"]', f'["drug", "{"x" * (LABEL_MAX + 1)}"]', "129 characters, 128 are kept"),
        ('["drug", "other"]', "7", "labels is 7: expected 'imagenet-1k', a list"),
        ('["drug", "other"]', '"package:nowhere/labels.txt"', "install it"),
        ("resize = 256", "resize = 1000000", "up to 4096"),
        ("resize = 256", 'resize = "256"', "whole numbers"),
        ("mean = [0.485, 0.456, 0.406]", "mean = [nan, 0, 0]", "three numbers each"),
        ("mean = [0.485, 0.456, 0.406]", "mean = [0, 0]", "three numbers each"),
        ("mean = [0.485, 0.456, 0.406]", "mean = 0", "mine.toml"),
        ('architecture = "resnet18"', 'architecture = "../x"', "a classifier of torchvision's"),
        ("[card.metrics]", "[card.metric]", "metric: expected only"),
        ("accuracy = 0.97", "accuracy = inf", "expected a name and a number"),
        ("accuracy = 0.97", 'accuracy = "good"', "expected a name and a number"),
        ("made = 2026-11-27", 'made = "yesterday"', "expected a date"),
        ('licence = "Apache-2.0"', f'licence = "{"x" * 300}"', "300 characters: 200 are kept"),
        ("[weights]", '[weights]\npickle = "yes"', "expected only from and sha256"),
        ('from = "w.safetensors"', 'from = "none"', "every other network needs some"),
        ('from = "w.safetensors"', "from = 7", "from is 7: expected a text"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in TEXT
    with pytest.raises(BuildError, match=said):
        read(tmp_path, TEXT.replace(old, new))


def test_labels_come_from_a_file_a_package_or_imagenet(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("\ufeffdrug\n  ordinary thing \nnéant\n", encoding="utf-8")
    (tmp_path / "list.json").write_text(json.dumps(["a", "b\u00fc"]))
    assert read_labels("lines.txt", tmp_path) == ("drug", "ordinary thing", "néant")
    assert read_labels(str(tmp_path / "list.json"), Path("/")) == ("a", "bü")
    with pytest.raises(BuildError, match="label 2 is empty"):
        read_labels("package:sluice/__init__.py", tmp_path)  # it was found, and has an empty line
    assert read_labels("imagenet-1k", tmp_path) is None
    assert len(imagenet_labels()) == 1000


@pytest.mark.parametrize("content", [b"\xff\xfea", b"[1, 2", b'["a", {}]', b"", b"a\n\nb", b"[" * 100_000])
def test_a_file_of_labels_that_is_none_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels").write_bytes(content)
    with pytest.raises(BuildError):
        read_labels("labels", tmp_path)


def test_too_many_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=f"expected 2 to {LABELS_MAX}"):
        read_labels([str(number) for number in range(LABELS_MAX + 1)], tmp_path)
    with pytest.raises(BuildError, match="more than 2000000 bytes"):
        read_labels([f"{number:0128}" for number in range(20_000)], tmp_path)


@settings(max_examples=200, deadline=None)
@given(labels=st.lists(st.text(max_size=140) | st.integers() | st.none() | st.lists(st.text()), max_size=6))
def test_labels_that_are_taken_can_be_kept(labels: list[Any]) -> None:
    with contextlib.suppress(BuildError):
        taken = read_labels(labels, Path()) or ()
        assert 2 <= len(taken) == len(set(taken)) == len(labels)
        assert all(len(label.encode()) > 0 and len(label) <= LABEL_MAX and label == label.strip() for label in taken)


values = st.recursive(
    st.text(max_size=20) | st.integers() | st.booleans() | st.floats(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=8), inside, max_size=3),
    max_leaves=6,
)


def toml(value: object) -> str:
    """Write a value as TOML; JSON's texts are TOML's, nearly."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return str(value) if isinstance(value, float) else json.dumps(value)


@settings(max_examples=200, deadline=None, suppress_health_check=FIXTURE)
@given(line=st.integers(0, TEXT.count("\n") - 1), value=values)
def test_any_value_anywhere_is_refused_in_a_sentence_or_taken(tmp_path: Path, line: int, value: object) -> None:
    lines = TEXT.splitlines()
    name, is_value, _ = lines[line].partition(" = ")
    lines[line] = f"{name} = {toml(value)}" if is_value else lines[line]
    with contextlib.suppress(BuildError):
        recipe = read(tmp_path, "\n".join(lines))
        json.dumps(model_card(recipe, recipe.labels or (), None), allow_nan=False).encode()


@settings(max_examples=100, deadline=None, suppress_health_check=FIXTURE)
@given(text=st.text(max_size=200) | st.text(alphabet='[]{}="\n.a1', max_size=200))
def test_any_text_is_refused_in_a_sentence(tmp_path: Path, text: str) -> None:
    with pytest.raises(BuildError, match=r"mine\.toml"):
        read(tmp_path, text)
