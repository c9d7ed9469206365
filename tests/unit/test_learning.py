"""Learning: the same numbers however they are come by, and figures that mean what they say."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from sluice.objects.kept import KeptFiles
from sluice.settings import read_settings
from tests.support.labelled_pictures import labelled
from trainer.learning.augmentation import varied
from trainer.learning.backbone import Backbone
from trainer.learning.calibration import calibration_error, scores_of, temperature_of
from trainer.learning.features import FeatureMaker
from trainer.learning.head import curve_of, train_head
from trainer.learning.measuring import interval, measure
from trainer.learning.tuning import class_weights, last_blocks
from trainer.manifest import Manifest
from trainer.pictures.inspection import Inspection
from trainer.pictures.labelled import Labels, read_labels_at
from trainer.pictures.looking import PictureReader
from trainer.pictures.splitting import TEST, TRAIN, VALIDATION, split
from trainer.progress import TrainingProgress

DICE: Final = np.random.default_rng(5)


def clouds(count: int, apart: float = 3.0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return points around two places, and which place each belongs to."""
    classes = DICE.integers(0, 2, count)
    points = DICE.normal(0, 1, (count, 8)) + apart * classes[:, None] * np.eye(8)[0]
    return points.astype(np.float32), classes.astype(np.int64)


def test_a_last_layer_tells_apart_what_can_be_told_apart() -> None:
    points, classes = clouds(200, 6.0)
    head = train_head(points, classes, 2, lambda: None)
    said = (torch.from_numpy(points) @ head.weight.T + head.bias).argmax(1).numpy()
    assert (said == classes).mean() > 0.98
    assert (head.held_out.argmax(1) == classes).mean() > 0.98
    again = train_head(points, classes, 2, lambda: None)
    assert torch.equal(head.weight, again.weight)
    assert torch.equal(head.bias, again.bias)


def test_more_pictures_make_a_curve() -> None:
    learned, tested = clouds(400, 2.0), clouds(200, 2.0)
    points = curve_of(learned, tested, 2, 0.1)
    assert [count for count, _ in points] == [50, 100, 200, 400]
    assert all(0.5 < accuracy <= 1 for _, accuracy in points)


def test_a_temperature_makes_scores_honest_and_changes_no_label() -> None:
    """Scores that are too sure of themselves by a factor of three."""
    truth = DICE.normal(0, 1.5, (4000, 3))
    classes = np.array([DICE.choice(3, p=row) for row in scores_of(truth)])
    warmth = temperature_of(truth * 3, classes)
    assert warmth == pytest.approx(3, rel=0.15)
    assert calibration_error(scores_of(truth * 3 / warmth), classes) < calibration_error(scores_of(truth * 3), classes)
    assert (scores_of(truth * 3 / warmth).argmax(1) == truth.argmax(1)).all()


@pytest.mark.parametrize(
    ("right", "count", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (95, 100, 0.8882, 0.9785)]
)
def test_intervals_are_wilsons(right: int, count: int, low: float, high: float) -> None:
    """As published in tables."""
    assert interval(right, count) == pytest.approx((low, high), abs=1e-4)


def test_measures_are_those_of_the_confusion_matrix() -> None:
    logits = np.array([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 0.0]])
    found = measure(logits, logits, np.array([0, 0, 1, 1]), ("a", "b"))
    assert found.confusion.tolist() == [[2, 0], [1, 1]]
    assert found.accuracy == 0.75
    assert found.classes[0].precision == pytest.approx(2 / 3)
    assert found.classes[0].recall == 1.0
    assert (found.classes[1].precision, found.classes[1].recall) == (1.0, 0.5)
    assert found.report()["confusions"] == [{"shows": "b", "said": "a", "pictures": 1}]
    assert "may as well be" in found.findings()[0]


def test_a_class_that_the_test_lacks_has_no_figures_but_harms_nothing() -> None:
    found = measure(np.array([[2.0, 0.0]]), np.array([[2.0, 0.0]]), np.array([0]), ("a", "b"))
    assert (found.classes[1].pictures, found.classes[1].f1) == (0, 0.0)


def seen(folder: Path, each: int = 30) -> Manifest:
    for key, data in labelled(each=each).items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(data)
    settings = read_settings()
    with asyncio.Runner() as runner, closing(PictureReader(settings)) as reader:
        labels = read_labels_at(f"file://{folder}/", settings, 1000)
        return Inspection(settings, reader, TrainingProgress()).inspect(labels, Labels(), "", "", runner)


def test_a_picture_stays_on_its_side_when_others_come(tmp_path: Path) -> None:
    few, many = seen(tmp_path, 30), seen(tmp_path, 60)
    later = {each.sha256: side for each, side in zip(many.pictures, many.sides, strict=True)}
    assert all(later[each.sha256] == side for each, side in zip(few.pictures, few.sides, strict=True))
    assert set(few.sides) == {TRAIN, VALIDATION, TEST}
    assert few.digest != many.digest


def test_each_class_has_pictures_on_each_side(tmp_path: Path) -> None:
    manifest = seen(tmp_path, 5)
    for label in manifest.labels:
        sides = [
            side for each, side in zip(manifest.pictures, manifest.sides, strict=True) if each.picture.label == label
        ]
        assert {side: sides.count(side) > 0 for side in (TRAIN, VALIDATION, TEST)} == dict.fromkeys(sides, True)
    assert TEST not in split(manifest.pictures, has_test=True)


def test_a_manifest_comes_back_as_it_was(tmp_path: Path) -> None:
    manifest = seen(tmp_path)
    back = Manifest.from_json(manifest.to_json("one"), "one")
    assert back is not None
    assert (back.digest, back.labels, back.findings) == (manifest.digest, manifest.labels, manifest.findings)
    assert Manifest.from_json(b'{"format": 0}', "one") is None
    assert Manifest.from_json(manifest.to_json("one"), "two") is None, "a training of another database"


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.set_num_threads(1)
    return Backbone("efficientnet-lite0", torch.device("cpu"))


def test_features_depend_on_a_pictures_content_alone(backbone: Backbone, tmp_path: Path) -> None:
    """Not on threads, nor on what is computed beside it, nor on what the store has already."""
    manifest = seen(tmp_path / "pictures", 5)
    settings = read_settings()

    def made(store: str, threads: int, some: int) -> NDArray[np.float32]:
        kept = KeptFiles(f"file://{tmp_path}/{store}", settings)
        with asyncio.Runner() as runner, closing(PictureReader(settings)) as reader:
            maker = FeatureMaker(backbone, kept, reader, settings, threads)
            return runner.run(maker.features(manifest.pictures[:some], lambda: None, lambda: None))

    alone = made("one", 1, 10)
    made("two", 2, 4)
    assert np.array_equal(alone, made("two", 2, 10))
    counted = []
    kept = KeptFiles(f"file://{tmp_path}/two", settings)
    with asyncio.Runner() as runner, closing(PictureReader(settings)) as reader:
        maker = FeatureMaker(backbone, kept, reader, settings, 2)
        runner.run(maker.features(manifest.pictures, lambda: counted.append(1), lambda: counted.append(100)))
    assert sum(counted) == len(manifest.pictures), "nothing was computed, so nothing was kept"


def test_files_of_features_that_cant_be_read_are_made_anew(backbone: Backbone, tmp_path: Path) -> None:
    manifest = seen(tmp_path / "pictures", 5)
    settings = read_settings()
    kept = KeptFiles(f"file://{tmp_path}/store", settings)
    for shelf in {each.sha256[:2] for each in manifest.pictures}:
        kept.put(f"_features/{backbone.digest[:16]}/{shelf}.safetensors", b"no features")
    with asyncio.Runner() as runner, closing(PictureReader(settings)) as reader:
        maker = FeatureMaker(backbone, kept, reader, settings, 2)
        found = runner.run(maker.features(manifest.pictures, lambda: None, lambda: None))
    assert found.shape == (10, backbone.width)


def test_a_whole_network_says_what_its_layers_said(backbone: Backbone) -> None:
    pixels = DICE.integers(0, 256, (2, 224, 224, 3)).astype(np.uint8)
    layer = nn.Linear(backbone.width, 3)
    whole = backbone.completed(("a", "b", "c"), layer.weight.detach(), layer.bias.detach())
    with torch.inference_mode():
        said = whole(backbone.prepared(pixels))
        wanted = layer(torch.from_numpy(backbone.features(pixels)))
    assert torch.allclose(said, wanted, atol=1e-4)


def test_the_last_blocks_are_most_of_a_network_and_not_all(backbone: Backbone) -> None:
    blocks = last_blocks(backbone.network, backbone.last)
    assert "_conv_head." in blocks
    assert "_conv_stem." not in blocks


def test_rare_classes_count_more_but_not_without_bound() -> None:
    weights = class_weights(np.array([0] * 999 + [1]), torch.device("cpu"))
    assert weights[1] == 10
    assert weights[0] == pytest.approx(1000 / 2 / 999)


def test_a_variation_depends_on_seed_epoch_and_content_and_is_never_the_picture_itself() -> None:
    pixels = DICE.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    one, same, other = (varied(pixels, 1, epoch, "ab" * 32) for epoch in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, pixels)
    assert one.shape == pixels.shape
