"""How well a model does on pictures that it didn't learn from, with how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainer.learning.calibration import calibration_error, loss_of, reliability, scores_of

Z: Final = 1.959963984540054
"""Of 95 %."""
WIDE: Final = 0.2
MATRIX_MAX: Final = 50
"""Classes up to which a card has the whole confusion matrix; of more it has the most frequent confusions."""
CONFUSIONS: Final = 50
DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class ClassMeasure:
    """How one class does."""

    label: str
    precision: float
    recall: float
    f1: float
    pictures: int


@dataclass(frozen=True, slots=True)
class Measures:
    """What a test found."""

    labels: tuple[str, ...]
    accuracy: float
    low: float
    high: float
    pictures: int
    classes: tuple[ClassMeasure, ...]
    confusion: NDArray[np.int64]
    """Rows are what pictures show, columns what the model says."""
    error_before: float
    error_after: float
    loss_before: float
    loss_after: float
    bins_before: tuple[tuple[float, float, int], ...]
    bins_after: tuple[tuple[float, float, int], ...]

    def metrics(self) -> dict[str, float]:
        """Return the numbers of a card."""
        told = {
            "accuracy": self.accuracy,
            "accuracy_low": self.low,
            "accuracy_high": self.high,
            "f1": float(np.mean([each.f1 for each in self.classes])),
            "calibration_error_before": self.error_before,
            "calibration_error": self.error_after,
            "log_loss": self.loss_after,
        }
        return {"test_pictures": self.pictures, **{name: round(value, DIGITS) for name, value in told.items()}}

    def report(self) -> dict[str, Any]:
        """Return what a card says in tables."""
        told: dict[str, Any] = {
            "classes": [
                {
                    "label": each.label,
                    "precision": round(each.precision, DIGITS),
                    "recall": round(each.recall, DIGITS),
                    "f1": round(each.f1, DIGITS),
                    "pictures": each.pictures,
                }
                for each in self.classes
            ],
            "calibration": {
                name: {"error": round(error, DIGITS), "log_loss": round(loss, DIGITS)}
                for name, error, loss in (
                    ("before", self.error_before, self.loss_before),
                    ("after", self.error_after, self.loss_after),
                )
            },
            "confusions": [
                {"shows": self.labels[row], "said": self.labels[column], "pictures": int(self.confusion[row, column])}
                for row, column in self._confused()
            ],
        }
        if len(self.labels) <= MATRIX_MAX:
            told["confusion_matrix"] = self.confusion.tolist()
        return told

    def findings(self) -> list[str]:
        """Return what to be careful with."""
        if self.high - self.low <= WIDE:
            return []
        told = (
            f"the accuracy of {self.accuracy:.2f} was measured on {self.pictures:,} pictures only: it may as well be "
            f"{self.low:.2f} or {self.high:.2f} (95 %); test with more pictures before you rely on it"
        )
        return [told]

    def _confused(self) -> list[tuple[int, int]]:
        wrong = self.confusion * (1 - np.eye(len(self.labels), dtype=np.int64))
        rows, columns = np.nonzero(wrong)
        pairs = sorted(zip(rows.tolist(), columns.tolist(), strict=True), key=lambda pair: (-int(wrong[pair]), pair))
        return pairs[:CONFUSIONS]


def measure(
    before: NDArray[np.float64], after: NDArray[np.float64], classes: NDArray[np.int64], labels: Sequence[str]
) -> Measures:
    """Measure logits before and after calibration against what the pictures show."""
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, (classes, after.argmax(1)), 1)
    right = int(confusion.trace())
    low, high = interval(right, len(classes))
    scores_before, scores_after = scores_of(before), scores_of(after)
    return Measures(
        tuple(labels),
        right / len(classes),
        low,
        high,
        len(classes),
        tuple(_class_measure(confusion, number, label) for number, label in enumerate(labels)),
        confusion,
        calibration_error(scores_before, classes),
        calibration_error(scores_after, classes),
        loss_of(before, classes),
        loss_of(after, classes),
        tuple(reliability(scores_before, classes)),
        tuple(reliability(scores_after, classes)),
    )


def interval(right: int, count: int) -> tuple[float, float]:
    """Return between which shares the true one lies with 95 % confidence (Wilson's interval)."""
    share = right / count
    middle = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z * ((share * (1 - share) + Z**2 / (4 * count)) / count) ** 0.5 / (1 + Z**2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def _class_measure(confusion: NDArray[np.int64], number: int, label: str) -> ClassMeasure:
    right, said, shown = confusion[number, number], confusion[:, number].sum(), confusion[number].sum()
    precision, recall = (float(right / each) if each else 0.0 for each in (said, shown))
    both = precision + recall
    return ClassMeasure(label, precision, recall, 2 * precision * recall / both if both else 0.0, int(shown))
