"""Small networks and their files: programs of torch.export, and the same with something put into them."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

SIDE: Final = 32
CLASSES: Final = 3
GRAPH: Final = "models/model.json"


class SmallNet(nn.Module):
    """A network with what larger ones have: a convolution, a norm, a view, a word for an argument."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=4)
        self.norm = nn.BatchNorm2d(8)
        self.act = nn.GELU(approximate="tanh")
        self.fc = nn.Linear(8 * 8 * 8, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores; by a view, which wants the exporter's order of values."""
        found = self.act(self.norm(self.conv(images)))
        scores: torch.Tensor = self.fc(found.view(images.shape[0], -1))
        return scores


class PickledCall:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        """Call what leaves the file."""
        return Path.touch, (self.sprung,)


def small_net(seed: int = 1) -> SmallNet:
    """Return a network of drawn weights, in eval mode."""
    torch.manual_seed(seed)
    return SmallNet().eval()


def exported(network: nn.Module, side: int = SIDE, *, dynamic: bool = True) -> bytes:
    """Export a network as docs/models.md says."""
    shapes = ({0: torch.export.Dim.DYNAMIC},) if dynamic else None
    program = torch.export.export(network, (torch.zeros(2, 3, side, side),), dynamic_shapes=shapes)
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue()


@cache
def small_program() -> bytes:
    """Return SmallNet, exported; once, since that takes a second."""
    return exported(small_net())


def changed(data: bytes, members: Mapping[str, bytes | None]) -> bytes:
    """Return such a file with other members; None takes one away."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as opened, zipfile.ZipFile(file, "w") as made:
        names = [entry.filename for entry in opened.infolist()]
        top = names[0].partition("/")[0]
        for name in names:
            if name.partition("/")[2] not in members:
                made.writestr(name, opened.read(name))
        for name, content in members.items():
            if content is not None:
                made.writestr(f"{top}/{name}", content)
    return file.getvalue()


def graph_of(data: bytes) -> dict[str, Any]:
    """Read the JSON of a program."""
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        name = next(each for each in opened.namelist() if each.endswith(GRAPH))
        graph: dict[str, Any] = json.loads(opened.read(name))
    return graph


def with_graph(change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return SmallNet's program after a change to its JSON."""
    graph = graph_of(small_program())
    change(graph)
    return changed(small_program(), {GRAPH: json.dumps(graph).encode()})


def trapped(path: Path) -> bytes:
    """Return what torch.save makes of a trap."""
    file = io.BytesIO()
    torch.save(PickledCall(path), file)
    return file.getvalue()


def bare_trap(path: Path) -> bytes:
    """Return what pickle makes of a trap."""
    return pickle.dumps(PickledCall(path))
