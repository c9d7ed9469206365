"""Networks in 8 bits: quantised after training by nncf, on a person's own pictures, each layer's mean corrected."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from handlers.compiled import model_of
from handlers.folding import fold
from handlers.networks import load
from handlers.quantised import check_graph, write_quantised
from sluice.errors import BuildError
from sluice.images import Preprocessing

CPU: Final = torch.device("cpu")
CONVOLUTIONS: Final = frozenset({"Convolution", "GroupConvolution"})


def quantise(folder: Path, card: Mapping[str, Any], pictures: NDArray[np.uint8], kept: int, path: Path) -> None:
    """Write what an unpacked card's network becomes in 8 bits, but for its first convolutions, of which `kept` stay."""
    try:
        import nncf  # noqa: PLC0415 - only this needs it
        import openvino  # noqa: PLC0415 - the same
    except ImportError as error:
        raise BuildError(
            f"precision int8 needs {error.name}, which isn't installed here: build it in a checkout, or install the "
            f"extra: pip install 'sluice[torchserve,int8]'"
        ) from error
    nncf.set_log_level(logging.ERROR)
    network = load(folder, card, CPU)
    fold(network)
    model = model_of(network, Preprocessing.from_dict(card["preprocessing"]))
    layers = [each for each in model.get_ordered_ops() if each.get_type_name() in CONVOLUTIONS]
    try:
        made = nncf.quantize(
            model,
            nncf.Dataset([picture[np.newaxis] for picture in pictures]),
            # Values below zero are kept where a layer has them.
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(pictures),
            fast_bias_correction=False,
            ignored_scope=nncf.IgnoredScope(names=[each.get_friendly_name() for each in layers[:kept]]),
        )
    except (nncf.InternalError, nncf.ValidationError, RuntimeError) as error:
        raise BuildError(f"nncf can't quantise it ({error}): leave out precision") from error
    with tempfile.TemporaryDirectory(prefix="sluice-quantised-") as scratch:
        graph = Path(scratch, "graph.xml")
        openvino.save_model(made, graph, compress_to_fp16=False)
        text = graph.read_bytes()
        check_graph(text, path.name)
        write_quantised(text, graph.with_suffix(".bin").read_bytes(), path)
