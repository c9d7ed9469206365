"""The last blocks of a network, trained with the last layer: slower than a last layer alone, and better.

The sums of a step are those of small parts of its batch, always the same parts and added in the same order, so that a
model doesn't depend on how many cores computed it. After each epoch, and now and then between, all of it is kept in the
store; a training that was killed goes on there and comes to the same network.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trainer.learning.augmentation import varied
from trainer.learning.backbone import Backbone
from trainer.learning.checkpoints import Checkpoints, TuningState
from trainer.learning.pixels import PixelSource
from trainer.pictures.looking import SeenPicture, side_by_side
from trainer.progress import TrainingProgress

G = TypeVar("G")
T = TypeVar("T")

EPOCHS: Final = 16
PATIENCE: Final = 4
"""So many epochs without a better validation end it."""
BATCH: Final = 32
PART: Final = 8
RATE: Final = 5e-4
RATE_OF_LAST: Final = 1e-3
DECAY: Final = 0.02
SMOOTHING: Final = 0.05
WARM_SHARE: Final = 0.05
TUNED_SHARE: Final = 0.76
"""The last blocks are those with up to this share of the network's numbers."""
WEIGHT_MAX: Final = 10.0
CHECKPOINT_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Lesson:
    """Pictures with their classes as numbers."""

    pictures: Sequence[SeenPicture]
    classes: NDArray[np.int64]


class Tuner:
    """Trains the last blocks of a backbone's network, whose last layer has been fitted already."""

    def __init__(
        self,
        backbone: Backbone,
        last: nn.Linear,
        pixels: PixelSource,
        checkpoints: Checkpoints,
        seed: int,
        threads: int,
    ) -> None:
        self._backbone = backbone
        self._network = backbone.network
        self._network.set_submodule(backbone.last, last.to(backbone.device))
        self._pixels = pixels
        self._checkpoints = checkpoints
        self._seed = seed
        self._on_gpu = backbone.device.type == "cuda"
        self._pool = ThreadPoolExecutor(1 if self._on_gpu else threads, thread_name_prefix="tuning")
        self._part = BATCH if self._on_gpu else PART
        tail = last_blocks(self._network, backbone.last)
        own = {f"{backbone.last}.weight", f"{backbone.last}.bias"}
        self.tuned = {
            name: tensor.requires_grad_()
            for name, tensor in self._network.named_parameters()
            if name in own or name.startswith(tail)
        }
        self._descent = torch.optim.AdamW(
            [
                {"params": [tensor for name, tensor in self.tuned.items() if name not in own], "lr": RATE},
                {"params": [self.tuned[name] for name in sorted(own)], "lr": RATE_OF_LAST},
            ],
            weight_decay=DECAY,
        )
        self._rates = [group["lr"] for group in self._descent.param_groups]

    async def tune(self, learned: Lesson, checked: Lesson, progress: TrainingProgress) -> list[tuple[float, float]]:
        """Train until it gets no better; return each epoch's losses: on what is learned from, and on the others."""
        steps = math.ceil(len(learned.pictures) / BATCH)
        state = self._checkpoints.load(self.tuned, self._descent)
        if state is None:
            first = await self._loss(checked)
            state = TuningState(0, 0, [], first, self._copy(), 0.0)
        progress.begin("tuning", EPOCHS * steps, state.epoch * steps + state.step)
        weights = class_weights(learned.classes, self._backbone.device)
        while state.epoch < EPOCHS and not self._is_over(state):
            await self._epoch(state, learned, weights, progress, steps)
            loss = await self._loss(checked)
            state.history.append((state.loss_sum / steps, loss))
            if loss < state.best_loss:
                state.best_loss, state.best = loss, self._copy()
            state.epoch, state.step, state.loss_sum = state.epoch + 1, 0, 0.0
            await asyncio.to_thread(self._checkpoints.save, state, self.tuned, self._descent)
            progress.keep()
        with torch.no_grad():
            for name, tensor in state.best.items():
                self.tuned[name].copy_(tensor)
        return state.history

    async def logits(self, lesson: Lesson) -> NDArray[np.float64]:
        """Return what the network says of pictures."""
        parts = [lesson.pictures[start : start + self._part] for start in range(0, len(lesson.pictures), self._part)]

        async def answer(part: Sequence[SeenPicture]) -> NDArray[np.float32]:
            return await self._run(self._answer, await self._plain(part))

        answers = [each async for each in side_by_side(answer, parts, 4)]
        return np.concatenate(answers).astype(np.float64)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _is_over(self, state: TuningState) -> bool:
        losses = [loss for _, loss in state.history]
        best = min(range(len(losses)), key=losses.__getitem__, default=-1)
        return len(losses) - 1 - best >= PATIENCE

    async def _epoch(
        self, state: TuningState, learned: Lesson, weights: torch.Tensor, progress: TrainingProgress, steps: int
    ) -> None:
        order = np.random.default_rng([self._seed, state.epoch]).permutation(len(learned.pictures))
        batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)][state.step :]

        async def load(places: NDArray[np.int64]) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64]]:
            some = [learned.pictures[place] for place in places]
            return list(await asyncio.gather(*(self._varied(each, state.epoch) for each in some))), places

        kept_at = time.monotonic()
        async for pixels, places in side_by_side(load, batches, 2):
            for group, rate in zip(self._descent.param_groups, self._rates, strict=True):
                group["lr"] = rate * _pace((state.epoch * steps + state.step) / (EPOCHS * steps))
            state.loss_sum += await self._step(np.stack(pixels), torch.from_numpy(learned.classes[places]), weights)
            state.step += 1
            progress.step()
            if time.monotonic() - kept_at > CHECKPOINT_SECONDS:
                await asyncio.to_thread(self._checkpoints.save, state, self.tuned, self._descent)
                progress.keep()
                kept_at = time.monotonic()

    async def _varied(self, each: SeenPicture, epoch: int) -> NDArray[np.uint8]:
        pixels = await self._pixels.read(each)
        return await asyncio.to_thread(varied, pixels, self._seed, epoch, each.sha256)

    async def _plain(self, pictures: Sequence[SeenPicture]) -> NDArray[np.uint8]:
        return np.stack(await asyncio.gather(*(self._pixels.read(each) for each in pictures)))

    async def _step(self, pixels: NDArray[np.uint8], classes: torch.Tensor, weights: torch.Tensor) -> float:
        classes = classes.to(self._backbone.device)
        whole = weights[classes].sum()

        def part(start: int) -> tuple[float, tuple[torch.Tensor, ...]]:
            some = classes[start : start + self._part]
            logits = self._network_of(pixels[start : start + self._part])
            losses = nn.functional.cross_entropy(logits, some, weights, reduction="none", label_smoothing=SMOOTHING)
            loss = losses.sum() / whole
            return float(loss.detach()), torch.autograd.grad(loss, list(self.tuned.values()))

        found = await asyncio.gather(*(self._run(part, start) for start in range(0, len(pixels), self._part)))
        for number, tensor in enumerate(self.tuned.values()):
            total = found[0][1][number].clone()
            for _, slopes in found[1:]:
                total += slopes[number]
            tensor.grad = total
        self._descent.step()
        return sum(loss for loss, _ in found)

    def _network_of(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        with torch.autocast(self._backbone.device.type, torch.bfloat16, enabled=self._on_gpu):
            logits: torch.Tensor = self._network(self._backbone.prepared(pixels))
        return logits.float()

    def _answer(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            found: NDArray[np.float32] = self._network_of(pixels).cpu().numpy()
        return found

    async def _loss(self, lesson: Lesson) -> float:
        logits = torch.from_numpy(await self.logits(lesson))
        return float(nn.functional.cross_entropy(logits, torch.from_numpy(lesson.classes)))

    async def _run(self, work: Callable[[G], T], given: G) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, given)

    def _copy(self) -> dict[str, torch.Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.tuned.items()}


def last_blocks(network: nn.Module, last: str) -> tuple[str, ...]:
    """Return how the names of the last blocks' numbers begin."""
    blocks = [name for name in _blocks(network, "") if not last.startswith(name.rstrip("."))]
    sizes = {
        block: sum(tensor.numel() for name, tensor in network.named_parameters() if name.startswith(block))
        for block in blocks
    }
    left = TUNED_SHARE * sum(sizes.values())
    found = list[str]()
    for block in reversed(blocks):
        if found and sizes[block] > left:
            break
        found.append(block)
        left -= sizes[block]
    return tuple(found)


def class_weights(classes: NDArray[np.int64], device: torch.device) -> torch.Tensor:
    """Return a weight a class: rare ones count more, so that they aren't given up for the frequent ones."""
    counts = np.bincount(classes)
    weights = np.minimum(len(classes) / (len(counts) * np.maximum(counts, 1)), WEIGHT_MAX)
    return torch.from_numpy(weights.astype(np.float32)).to(device)


def _blocks(layer: nn.Module, prefix: str) -> list[str]:
    found = list[str]()
    for name, inner in layer.named_children():
        if isinstance(inner, nn.Sequential | nn.ModuleList) and prefix.count(".") < 2:  # noqa: PLR2004 - stages of blocks
            found += _blocks(inner, f"{prefix}{name}.")
        elif any(True for _ in inner.parameters()):
            found.append(f"{prefix}{name}.")
    return found


def _pace(done: float) -> float:
    """Return the share of the full rate: quickly up, then down along a cosine."""
    if done < WARM_SHARE:
        return (done + WARM_SHARE / 10) / WARM_SHARE
    return 0.5 * (1 + math.cos(math.pi * (done - WARM_SHARE) / (1 - WARM_SHARE))) + 1e-3
