"""The course of a training: look at pictures, compute features, fit, measure, and leave an archive in the store.

Each step that took long leaves its result in the store, so that a training that was killed goes on from there.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sluice.domain import LABEL_MAX
from sluice.errors import ImageError, ObjectError, TrainingError
from sluice.images import VERSION, decode_whole
from sluice.ledger.models import StoredArchive
from sluice.ledger.trainings import Training
from sluice.objects.kept import KeptFiles
from sluice.settings import Settings
from sluice.store.archive import check_archive
from sluice.store.shelf import ModelStore
from trainer.archives.making import WEIGHTS, make_archive
from trainer.archives.recipe import Recipe
from trainer.archives.weights import write_weights
from trainer.learning.backbone import Backbone, device_of
from trainer.learning.calibration import scores_of, temperature_of
from trainer.learning.checkpoints import Checkpoints
from trainer.learning.drawings import (
    THUMB,
    Mistake,
    confusion_chart,
    epochs,
    learning_curve,
    mistakes_sheet,
    reliability_chart,
)
from trainer.learning.features import FeatureMaker
from trainer.learning.head import curve_of, steps_of_head, train_head
from trainer.learning.measuring import Measures, measure
from trainer.learning.pixels import PixelSource
from trainer.learning.tuning import Lesson, Tuner
from trainer.manifest import Manifest
from trainer.pictures.inspection import Inspection
from trainer.pictures.labelled import Labels
from trainer.pictures.looking import PictureReader
from trainer.pictures.splitting import TEST, TRAIN, VALIDATION
from trainer.progress import TrainingProgress

FOLDER: Final = "_trainings"
MISTAKES: Final = 24

ReadLabels = Callable[[], tuple[Labels, Labels]]
"""Returns the pictures to learn from, and those of a separate test (none: some of the former are kept for it)."""


@dataclass(frozen=True, slots=True)
class MadeModel:
    """What a training made: it lies in the store."""

    card: dict[str, Any]
    archive: StoredArchive


@dataclass(frozen=True, slots=True)
class FittedModel:
    """A last layer, the temperature of its logits, and what the network says of the test's pictures."""

    weight: torch.Tensor
    bias: torch.Tensor
    temperature: float
    logits: NDArray[np.float64]
    curve: tuple[tuple[float, float], ...]
    """The accuracy of a last layer alone, by how many pictures it was fitted to."""
    history: tuple[tuple[float, float], ...] = ()
    """Of fine-tuning: each epoch's losses."""


class Course:
    """One training from its row to its archive; runs in a thread of its own."""

    def __init__(
        self,
        training: Training,
        settings: Settings,
        progress: TrainingProgress,
        read_labels: ReadLabels,
        tell_findings: Callable[[Sequence[str]], None],
    ) -> None:
        if not settings.model_store:
            raise TrainingError("there is no place for models: set SLUICE_MODEL_STORE to s3://bucket/prefix/")
        self._training = training
        self._settings = settings
        self._progress = progress
        self._read_labels = read_labels
        self._tell_findings = tell_findings
        self._store = KeptFiles(settings.model_store, settings)
        self._reader = PictureReader(settings)
        self._runner = asyncio.Runner()

    def run(self) -> MadeModel:
        """Go through all of it, or on with what is left of it."""
        # One thread for each computation: with more, sums come out otherwise, and the digest with them.
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(mode=True)
        with closing(self._store), self._runner:
            try:
                return self._run()
            finally:
                self._runner.run(self._close_reader())

    async def _close_reader(self) -> None:
        self._reader.close()

    def _run(self) -> MadeModel:
        manifest = self._seen_pictures()
        backbone = Backbone(self._training.base, device_of(self._settings))
        features = self._features(backbone, manifest)
        fitted = (
            self._tuned(backbone, manifest, features) if self._training.fine_tune else self._frozen(manifest, features)
        )
        self._progress.begin("measuring", 1)
        classes, tested = manifest.classes(), manifest.on(TEST)
        measures = measure(fitted.logits, fitted.logits / fitted.temperature, classes[tested], manifest.labels)
        # The archive's scores are calibrated, since its last layer is.
        network = backbone.completed(
            manifest.labels, fitted.weight / fitted.temperature, fitted.bias / fitted.temperature
        )
        return self._archive(network, backbone, manifest, measures, fitted)

    def _frozen(self, manifest: Manifest, features: NDArray[np.float32]) -> FittedModel:
        """Fit the last layer only."""
        classes = manifest.classes()
        known, tested = manifest.on(TRAIN, VALIDATION), manifest.on(TEST)
        self._progress.begin("fitting", steps_of_head())
        head = train_head(features[known], classes[known], len(manifest.labels), self._progress.step)
        logits = _logits(features[tested], head.weight, head.bias)
        curve = _curve(manifest, features, head.penalty)
        return FittedModel(head.weight, head.bias, temperature_of(head.held_out, classes[known]), logits, curve)

    def _tuned(self, backbone: Backbone, manifest: Manifest, features: NDArray[np.float32]) -> FittedModel:
        """Fit the last layer, and then the last blocks with it."""
        classes = manifest.classes()
        known, checked = manifest.on(TRAIN), manifest.on(VALIDATION)
        self._progress.begin("fitting", steps_of_head())
        head = train_head(features[known], classes[known], len(manifest.labels), self._progress.step)
        temperature = temperature_of(_logits(features[checked], head.weight, head.bias), classes[checked])
        last = nn.Linear(backbone.width, len(manifest.labels))
        with torch.no_grad():
            last.weight.copy_(head.weight / temperature)
            last.bias.copy_(head.bias / temperature)
        # Numbers of trainings begin anew in a new database, and its model store may be that of an earlier one.
        inputs = f"{manifest.digest} {self._training.base} {self._training.seed}"
        tuner = Tuner(
            backbone,
            last,
            PixelSource(self._reader, backbone.preprocessing, self._settings),
            Checkpoints(self._store, f"{FOLDER}/{self._training.id}/tuning.safetensors", inputs),
            self._training.seed,
            self._settings.decode_threads,
        )
        with closing(tuner):
            lessons = [Lesson([manifest.pictures[place] for place in places], classes[places])
                       for places in (known, checked, manifest.on(TEST))]  # fmt: skip
            history = self._runner.run(tuner.tune(lessons[0], lessons[1], self._progress))
            self._progress.begin("measuring", 2)
            found = [self._runner.run(tuner.logits(lesson)) for lesson in lessons[1:]]
        tuned = [tuner.tuned[f"{backbone.last}.{part}"].detach().cpu() for part in ("weight", "bias")]
        curve = _curve(manifest, features, head.penalty)
        warmth = temperature_of(found[0], classes[checked])
        return FittedModel(tuned[0], tuned[1], warmth, found[1], curve, tuple(history))

    def _seen_pictures(self) -> Manifest:
        """Return the pictures as they were seen first, or look at them now."""
        key = f"{FOLDER}/{self._training.id}/pictures.json"
        data, asked = self._store.get(key), self._training.asked
        known = Manifest.from_json(data, asked) if data is not None else None
        if known is not None:
            return known
        manifest = self._look()
        self._tell_findings(manifest.findings)
        self._store.put(key, manifest.to_json(asked))
        self._progress.keep()
        return manifest

    def _look(self) -> Manifest:
        self._progress.begin("listing", 0)
        labels, test = self._read_labels()
        inspection = Inspection(self._settings, self._reader, self._progress)
        return inspection.inspect(labels, test, self._training.source, self._training.test, self._runner)

    def _features(self, backbone: Backbone, manifest: Manifest) -> NDArray[np.float32]:
        self._progress.begin("features", len(manifest.pictures))
        maker = FeatureMaker(backbone, self._store, self._reader, self._settings, self._settings.decode_threads)
        return self._runner.run(maker.features(manifest.pictures, self._progress.step, self._progress.keep))

    def _pictures(self, manifest: Manifest, fitted: FittedModel, measures: Measures) -> dict[str, str]:
        """Draw how it went; return where each picture lies in the store."""
        drawn = {
            "learning-curve": learning_curve(fitted.curve),
            "confusion": confusion_chart(measures),
            "reliability": reliability_chart(measures),
            "mistakes": mistakes_sheet(self._runner.run(self._mistakes(manifest, fitted))),
        }
        if fitted.history:
            drawn["epochs"] = epochs(fitted.history)
        places = {}
        for name, data in drawn.items():
            key = f"{self._training.name}/{self._training.version}/{name}.svg"
            self._store.put(key, data)
            places[name] = key
        return places

    async def _mistakes(self, manifest: Manifest, fitted: FittedModel) -> list[Mistake]:
        """Return the pictures of the test that the model is most sure of and wrong about."""
        scores = scores_of(fitted.logits / fitted.temperature)
        tested, said = manifest.on(TEST), scores.argmax(1)
        wrong = np.flatnonzero(said != manifest.classes()[tested])
        worst = wrong[np.argsort(-scores[wrong].max(1), kind="stable")][:MISTAKES]
        found = []
        for number in worst:
            each = manifest.pictures[tested[number]]
            try:
                _, data = await self._reader.read(each.picture)
                pixels = decode_whole(data, THUMB, self._settings.image_max_pixels)
            except (ObjectError, ImageError):
                continue  # it is gone meanwhile, and only its portrait is missing
            found.append(Mistake(pixels, each.picture.label, manifest.labels[said[number]], scores[number].max()))
        return found

    def _archive(
        self,
        network: nn.Module,
        backbone: Backbone,
        manifest: Manifest,
        measures: Measures,
        fitted: FittedModel,
    ) -> MadeModel:
        pictures = self._pictures(manifest, fitted, measures)
        self._progress.begin("packing", 2)
        training = self._training
        recipe = Recipe(
            name=training.name,
            version=training.version,
            architecture=backbone.architecture,
            labels=manifest.labels,
            weights="",
            sha256="",
            preprocessing={**backbone.preprocessing.to_dict(), "version": VERSION},
            card={**_card(training, manifest, measures, fitted), "pictures": pictures},
            base=Path(),
        )
        with tempfile.TemporaryDirectory(prefix="sluice-training-") as folder:
            weights, archive = Path(folder, WEIGHTS), Path(folder, f"{training.name}.mar")
            write_weights(network, weights)
            card, _ = make_archive(recipe, manifest.labels, weights, archive)
            self._progress.step()
            checked = check_archive(archive, self._settings.model_max_bytes)
            ModelStore(self._settings).put(archive, training.name, training.version, checked.sha256)
            self._progress.step()
            return MadeModel(card, StoredArchive(checked.sha256, checked.size))


def _curve(manifest: Manifest, features: NDArray[np.float32], penalty: float) -> tuple[tuple[float, float], ...]:
    known, tested, classes = manifest.on(TRAIN, VALIDATION), manifest.on(TEST), manifest.classes()
    return tuple(
        curve_of((features[known], classes[known]), (features[tested], classes[tested]), len(manifest.labels), penalty)
    )


def _logits(features: NDArray[np.float32], weight: torch.Tensor, bias: torch.Tensor) -> NDArray[np.float64]:
    found: NDArray[np.float64] = features.astype(np.float64) @ weight.double().numpy().T + bias.double().numpy()
    return found


def _card(training: Training, manifest: Manifest, measures: Measures, fitted: FittedModel) -> dict[str, Any]:
    sides = {side: len(manifest.on(side)) for side in (TRAIN, VALIDATION, TEST)}
    return {
        "description": f"Tells {_classes(manifest.labels)} apart.",
        "made_by": training.made_by,
        "made": dt.datetime.now(dt.UTC).date().isoformat(),
        "data_digest": manifest.digest,
        "metrics": measures.metrics(),
        "report": {
            **measures.report(),
            "temperature": round(fitted.temperature, 4),
            "learning_curve": [[count, round(accuracy, 4)] for count, accuracy in fitted.curve],
            "epochs": [[round(learned, 4), round(checked, 4)] for learned, checked in fitted.history],
        },
        "findings": [*measures.findings(), *manifest.findings],
        "training": {
            "id": training.id,
            "source": training.source,
            "test": training.test,
            "corrections": training.corrections,
            "base": training.base,
            "fine_tune": training.fine_tune,
            "seed": training.seed,
            "pictures": sides,
        },
    }


def _classes(labels: Sequence[str]) -> str:
    shown = ", ".join(labels[:5]) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")  # noqa: PLR2004
    return shown[: 5 * LABEL_MAX]
