"""A network that was quantised when its archive was built: OpenVINO's graph and its numbers, as tensors of bytes.

They lie in safetensors as weights do. OpenVINO reads a graph as XML; what isn't a graph of its own plain layers is
refused before it does.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from sluice.images import WeightsError

if TYPE_CHECKING:
    import openvino

GRAPH: Final = "graph"
NUMBERS: Final = "numbers"
GRAPH_MAX_BYTES: Final = 16 * 1024 * 1024
LAYER: Final = re.compile(rb"<layer\s[^>]*>")
TYPE: Final = re.compile(rb'\stype="([A-Za-z0-9_]{1,64})"')
VERSION: Final = re.compile(rb'\sversion="opset[0-9]{1,2}"')
MARKUP: Final = re.compile(rb"<[!?](?!\?xml |xml )")
CHANGING: Final = frozenset({b"ReadValue", b"Assign", b"Loop", b"If", b"TensorIterator"})
"""Layers that keep something between pictures, or have graphs inside."""


def write_quantised(graph: bytes, numbers: bytes, path: Path) -> None:
    """Write both into one file."""
    save_file({name: np.frombuffer(data, np.uint8) for name, data in ((GRAPH, graph), (NUMBERS, numbers))}, path)


def read_quantised(path: Path) -> openvino.Model:
    """Return the graph that a file holds; WeightsError says why it is none."""
    import openvino  # noqa: PLC0415 - a machine may lack it

    try:
        held = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path.name} is no safetensors ({error}): build the archive again") from error
    if set(held) != {GRAPH, NUMBERS} or any(each.dtype != np.uint8 for each in held.values()):
        raise WeightsError(f"{path.name} doesn't hold a graph and its numbers: build the archive again")
    graph = held[GRAPH].tobytes()
    check_graph(graph, path.name)
    try:
        return openvino.Core().read_model(graph, openvino.Tensor(held[NUMBERS]))
    except (RuntimeError, ValueError) as error:
        raise WeightsError(f"{path.name} can't be read by OpenVINO ({error}): build the archive again") from error


def check_graph(graph: bytes, name: str) -> None:
    """Refuse what isn't one plain graph of OpenVINO's own layers."""
    if len(graph) > GRAPH_MAX_BYTES:
        raise WeightsError(f"{name}: its graph is larger than {GRAPH_MAX_BYTES} bytes")
    if MARKUP.search(graph):
        raise WeightsError(f"{name}: its graph has markup that no graph needs")
    for layer in LAYER.findall(graph):
        kind, version = TYPE.search(layer), VERSION.search(layer)
        if kind is None or version is None or kind[1] in CHANGING:
            raise WeightsError(f"{name}: its graph has a layer that isn't known here: {layer[:100]!r}")
