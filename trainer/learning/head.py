"""The last layer: a multinomial logistic regression on features, as strong a penalty as cross-validation finds best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

PENALTIES: Final = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
"""From strong to weak, on features of unit variance; a fit begins where the stronger one ended."""
FOLDS: Final = 5
STEPS: Final = 60
PARTS: Final = (8, 4, 2, 1)
LEAST_DEVIATION: Final = 1e-6


@dataclass(frozen=True, slots=True)
class TrainedHead:
    """A last layer, and what it said of pictures that it hadn't learned from: for the temperature and the curve."""

    weight: torch.Tensor
    bias: torch.Tensor
    held_out: NDArray[np.float64]
    """Logits of the pictures that were learned from, each by a fit without its fold."""
    penalty: float
    losses: tuple[tuple[float, float], ...]
    """Penalty and cross-validated loss, in the order tried."""


def train_head(
    features: NDArray[np.float32], classes: NDArray[np.int64], count: int, each_done: Callable[[], None]
) -> TrainedHead:
    """Fit a last layer to features and the numbers of their classes. Rows are in the order of their contents."""
    mean = features.mean(0, dtype=np.float64)
    deviation = np.maximum(features.std(0, dtype=np.float64), LEAST_DEVIATION)
    scaled = torch.from_numpy(((features - mean) / deviation).astype(np.float32))
    wanted = torch.from_numpy(classes)
    folds = _folds(classes)
    logits = {penalty: torch.zeros(len(classes), count, dtype=torch.float32) for penalty in PENALTIES}
    for fold in range(FOLDS):
        inside, outside = (
            torch.from_numpy(np.flatnonzero(folds != fold)),
            torch.from_numpy(np.flatnonzero(folds == fold)),
        )
        layer = None
        for penalty in PENALTIES:
            layer = _fit(scaled[inside], wanted[inside], count, penalty, layer)
            logits[penalty][outside] = scaled[outside] @ layer[:-1] + layer[-1]
            each_done()
    losses = [float(torch.nn.functional.cross_entropy(logits[penalty].double(), wanted)) for penalty in PENALTIES]
    best = PENALTIES[int(np.argmin(losses))]
    layer = None
    for penalty in PENALTIES[: PENALTIES.index(best) + 1]:
        layer = _fit(scaled, wanted, count, penalty, layer)
        each_done()
    assert layer is not None, "there are penalties"  # noqa: S101 - for the type checker
    # The network has no place for the scaling, so it goes into the layer.
    weight = layer[:-1].double() / torch.from_numpy(deviation)[:, None]
    bias = layer[-1].double() - torch.from_numpy(mean) @ weight
    return TrainedHead(
        weight.T.float().contiguous(), bias.float(), logits[best].double().numpy(), best,
        tuple(zip(PENALTIES, losses, strict=True)),
    )  # fmt: skip


def steps_of_head() -> int:
    """Return how many fits there are, at most."""
    return (FOLDS + 1) * len(PENALTIES)


def _folds(classes: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Deal the pictures of each class out to the folds in turn."""
    given = np.asarray(classes)
    folds = np.zeros(len(given), dtype=np.int64)
    dealt = 0
    for number in np.unique(given):
        places = np.flatnonzero(given == number)
        folds[places] = (np.arange(len(places)) + dealt) % FOLDS
        dealt += len(places)
    return folds


def _fit(
    given: torch.Tensor, wanted: torch.Tensor, count: int, penalty: float, start: torch.Tensor | None
) -> torch.Tensor:
    layer = torch.zeros(given.shape[1] + 1, count) if start is None else start.clone()
    layer.requires_grad_()
    descent = torch.optim.LBFGS([layer], max_iter=STEPS, tolerance_change=1e-7, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        descent.zero_grad()
        logits = given @ layer[:-1] + layer[-1]
        # The penalty is that of a whole data set, so more pictures need less of it.
        found = torch.nn.functional.cross_entropy(logits, wanted)
        found = found + penalty * 0.5 * (layer[:-1] ** 2).sum() / count
        found.backward()  # type: ignore[no-untyped-call]
        return found

    descent.step(loss)  # type: ignore[no-untyped-call]
    return layer.detach()


def curve_of(
    learned: tuple[NDArray[np.float32], NDArray[np.int64]],
    tested: tuple[NDArray[np.float32], NDArray[np.int64]],
    count: int,
    penalty: float,
) -> list[tuple[int, float]]:
    """Return the accuracy on a test by how many pictures a last layer was fitted to, an eighth of all and more."""
    features, classes = learned
    mean = features.mean(0, dtype=np.float64)
    deviation = np.maximum(features.std(0, dtype=np.float64), LEAST_DEVIATION)
    scaled, asked = (torch.from_numpy(((each - mean) / deviation).astype(np.float32)) for each in (features, tested[0]))
    found = []
    for part in PARTS:
        some = max(count, len(classes) // part)
        layer = _fit(scaled[:some], torch.from_numpy(classes[:some]), count, penalty, None)
        said = (asked @ layer[:-1] + layer[-1]).argmax(1).numpy()
        found.append((some, float((said == tested[1]).mean())))
    return found
