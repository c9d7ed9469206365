"""Scores that mean what they say: of the answers with a score of 0.8, eight in ten are right.

One number, the temperature, divides all logits; it changes no label. It is fitted to pictures that weren't
learned from.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

COLDEST: Final = 0.05
HOTTEST: Final = 20.0
STEPS: Final = 80
BINS: Final = 10
GOLDEN: Final = (5**0.5 - 1) / 2


def temperature_of(logits: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """Return the temperature with the least loss, by golden sections of its logarithm."""
    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(STEPS):
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        if loss_of(logits / np.exp(left), classes) <= loss_of(logits / np.exp(right), classes):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def scores_of(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scores that logits stand for: a softmax for each row."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    scores: NDArray[np.float64] = powers / powers.sum(1, keepdims=True)
    return scores


def loss_of(logits: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """Return the mean of the negative logarithms of the right classes' scores."""
    shifted = logits - logits.max(1, keepdims=True)
    right = shifted[np.arange(len(classes)), classes]
    return float(np.mean(np.log(np.exp(shifted).sum(1)) - right))


def reliability(scores: NDArray[np.float64], classes: NDArray[np.int64]) -> list[tuple[float, float, int]]:
    """Return for each tenth of scores: the mean score, the share that is right, and how many there are."""
    best, right = scores.max(1), scores.argmax(1) == classes
    bins = np.minimum((best * BINS).astype(int), BINS - 1)
    return [
        (float(best[bins == each].mean()), float(right[bins == each].mean()), int((bins == each).sum()))
        for each in range(BINS)
        if (bins == each).any()
    ]


def calibration_error(scores: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """Return by how much scores and shares that are right differ, on average over the answers."""
    found = reliability(scores, classes)
    return sum(abs(score - share) * count for score, share, count in found) / len(classes)
