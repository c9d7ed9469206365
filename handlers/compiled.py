"""A network that OpenVINO has compiled for this processor: pictures as bytes in, scores out.

It is made of torch's own network each time that it is loaded, so that an archive holds nothing else for it, unless it
was quantised. The normalisation becomes part of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sluice.images import BF16, FP32, INT8, Preprocessing, WeightsError

if TYPE_CHECKING:
    import openvino

CHANNELS: Final = 3
LEVELS: Final = 255
HINTS: Final = {FP32: "f32", BF16: "bf16", INT8: "f32"}
"""What layers compute with that aren't quantised."""
PIECE: Final = 8
"""Pictures that go through the network together: what its layers hand on for them stays in a processor's cache."""
SAID_MAX: Final = 300


class CompiledNetwork:
    """Runs one batch at a time; not for several threads.

    OpenVINO plans memory and layouts better for a number of pictures that it knows, so the network is compiled twice:
    for a piece of a batch, and for one picture, which is what remains of a batch and what a person sends.
    """

    def __init__(self, model: openvino.Model, precision: str, threads: int) -> None:
        import openvino  # noqa: PLC0415 - a machine may lack it

        # Unpinned: each worker would have the same cores, the first ones.
        options = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        core = openvino.Core()
        _, *picture = model.input().get_partial_shape()
        self._requests: dict[int, openvino.InferRequest] = {}
        for count in (PIECE, 1):
            model.reshape(openvino.PartialShape([count, *picture]))
            self._requests[count] = core.compile_model(model, "CPU", options).create_infer_request()

    def scores(self, pictures: NDArray[np.uint8]) -> torch.Tensor:
        """Return the scores of (n, height, width, 3) bytes."""
        found, whole = [], len(pictures) - len(pictures) % PIECE
        for start in (*range(0, whole, PIECE), *range(whole, len(pictures))):
            count = PIECE if start < whole else 1
            (scores,) = self._requests[count].infer([pictures[start : start + count]], share_inputs=True).values()
            found.append(scores)
        return torch.from_numpy(np.concatenate(found).astype(np.float32, copy=False))


def compiled(make: Callable[[], openvino.Model], precision: str, threads: int) -> CompiledNetwork:
    """Return what is made, compiled; WeightsError says why OpenVINO can't run it."""
    from openvino import frontend  # noqa: PLC0415 - a machine may lack it

    failures = (frontend.OpConversionFailure, frontend.OpValidationFailure, frontend.GeneralFailure)
    try:
        return CompiledNetwork(make(), precision, threads)
    except (RuntimeError, TypeError, ValueError, *failures) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:SAID_MAX]
        raise WeightsError(f"OpenVINO can't run it ({said})") from error


def model_of(network: nn.Module, preprocessing: Preprocessing) -> openvino.Model:
    """Return what OpenVINO makes of a network, with the normalisation before it."""
    import openvino  # noqa: PLC0415 - a machine may lack it
    from openvino.preprocess import PrePostProcessor  # noqa: PLC0415 - the same

    side = preprocessing.crop
    example = torch.zeros(1, CHANNELS, side, side)
    with torch.inference_mode(), warnings.catch_warnings():
        # OpenVINO reads TorchScript, which torch calls outdated, and each size that forward looks at uncertain.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
        model = openvino.convert_model(traced, example_input=example, input=[-1, CHANNELS, side, side])
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    mean, std = ([LEVELS * value for value in values] for values in (preprocessing.mean, preprocessing.std))
    steps.input().preprocess().convert_element_type(openvino.Type.f32).mean(mean).scale(std)
    return steps.build()
